"""What the front counts and tells: metrics, the record of each request, recent latencies. No gRPC, no torch.

Counting is adding to plain numbers in the event loop's thread; `prometheus-client` reads them when it is asked, and is
imported only where metrics are exposed.
"""
