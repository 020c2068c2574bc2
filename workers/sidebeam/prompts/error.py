"""The one error of this package."""

from __future__ import annotations


class PromptError(ValueError):
    """No prompt can be made of what was given. The message names the template or file, the field and the entity."""
