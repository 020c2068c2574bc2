"""The one error of the evaluation."""

from __future__ import annotations


class EvaluationError(ValueError):
    """What the user gave cannot be evaluated. The message names the option, its value and the limit."""
