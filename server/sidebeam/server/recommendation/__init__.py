"""The recommendation service, from a request's check to its final items."""
