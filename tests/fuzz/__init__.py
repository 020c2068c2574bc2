"""Requests that nobody should send, to a sidecar that must not mind."""
