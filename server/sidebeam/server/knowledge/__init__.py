"""The knowledge service, from a request's check to the end of its text."""
