"""The one error of this package."""

from __future__ import annotations

SHOWN = 60  # characters of a bad value that an error repeats


class GroupingError(ValueError):
    """What the user gave cannot be grouped. The message names the file or option, the place in it and the value."""


def shown(value: object) -> str:
    """A value as an error repeats it."""
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
