"""The one error of this package."""

from __future__ import annotations


class DownstreamError(ValueError):
    """What the user gave cannot be judged. The message names the option or file, its value and the limit."""
