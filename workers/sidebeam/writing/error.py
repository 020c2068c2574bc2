"""The one error of this package."""

from __future__ import annotations


class WritingError(ValueError):
    """No texts can be written from what was given. The message names the file or option, the place in it, the value."""
