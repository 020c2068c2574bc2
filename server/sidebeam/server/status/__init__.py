"""Whether the sidecar serves, and what it is like now."""
