"""The one error of this package, and how others' are told in it."""

from __future__ import annotations


class TrainingError(Exception):
    """What the user gave cannot be trained on. The message names the file, the place in it and the value."""


def first_line(error: Exception) -> str:
    """A library's error as one line, to be repeated in one of ours."""
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return (str(error).strip() or type(error).__name__).splitlines()[0]
