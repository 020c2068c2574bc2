"""What a sidecar bears: faults and overload made on purpose under an open loop, and judged. No torch."""
