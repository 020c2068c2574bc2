"""The worker processes: thin gRPC services over the engine.

`python -m sidebeam.workers.target` verifies, `python -m sidebeam.workers.draft` proposes. Importing this package
loads no torch; the processes do that once their environment is set.
"""
