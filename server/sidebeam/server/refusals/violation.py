"""One thing wrong with a request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """A request field's path, and what is wrong with it: the value given and the limit it breaks."""

    field: str
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}"
