"""The one error of this package."""

from __future__ import annotations


class TrainingError(Exception):
    """What the user gave cannot be trained on. The message names the file, the place in it and the value."""
