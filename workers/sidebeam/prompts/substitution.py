"""Fields in text: `{name}` and nothing else. Nothing is ever evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

FIELD = re.compile(r"\{\{|\}\}|\{([^\W\d][\w .-]*)\}")


def fields(text: str) -> Iterator[str]:
    """The names of the fields of a text, in order. `{{` and `}}` stand for braces; other braces for themselves."""
    return (found[1] for found in FIELD.finditer(text) if found[1])


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with every field replaced by its value, in one pass: braces in values are never looked at.

    Raises `KeyError` for a field without a value.
    """
    return FIELD.sub(lambda found: values[found[1]] if found[1] else found[0][0], text)
