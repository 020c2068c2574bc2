"""What is wrong with a PEM file."""

from __future__ import annotations


class TlsError(ValueError):
    """A certificate, key or authority cannot be used; the message names the setting and the file."""
