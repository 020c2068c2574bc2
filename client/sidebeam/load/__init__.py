"""`sidebeam load`: asks a running sidecar at a given rate, and reports what its users would have seen.

A *step* is a time at one rate: arrivals, each a request due at its *intended* time. In an open loop that time does not
hang on the answers before it, and latency counts from it, so that a stalled server cannot slow down its own examiner.
"""
