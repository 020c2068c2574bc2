"""Why a load test cannot be run."""

from __future__ import annotations


class LoadError(Exception):
    """It cannot be run as asked: an option, a file or a request of it is at fault, and the message says how."""


class Unanswered(Exception):
    """It was asked rightly, but no sidecar gives answers at the address."""
