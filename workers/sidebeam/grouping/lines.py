"""Files of one JSON object per line, whose errors name file, line and value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidebeam.grouping.error import GroupingError, shown


@dataclass(frozen=True, slots=True)
class Line:
    """One object; `place` names it in errors."""

    place: str
    fields: Mapping[str, Any]

    def identifier(self, field: str) -> str:
        """An id, which may be an integer or text. Raises `GroupingError` for anything else, and for empty text."""
        if field not in self.fields:
            raise GroupingError(f"{self.place}: the field {field!r} is missing: {shown(dict(self.fields))}")
        return checked_id(f"{self.place}, {field}", self.fields[field])

    def text(self, field: str) -> str:
        """A text. Raises `GroupingError` where there is none."""
        value = self.fields.get(field)
        if not isinstance(value, str):
            raise GroupingError(f"{self.place}, {field}: must be text; given {shown(value)}")
        return value


def read_lines(path: Path) -> Iterator[Line]:
    """The objects of a file in order; blank lines are left out.

    Raises `GroupingError` for a file that cannot be read, a line that is not a JSON object, and a file without any.
    """
    found = False
    for number, text in enumerate(_texts(path), start=1):
        if text.strip():
            found = True
            yield _line(f"{path}, line {number}", text)
    if not found:
        raise GroupingError(f"{path}: holds no lines")


def read_text(path: Path) -> str:
    """A file's text. Raises `GroupingError` where there is none."""
    return "".join(_texts(path))


def _texts(path: Path) -> Iterator[str]:
    """A file's lines, one after another, so that files may be larger than memory."""
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            yield from file
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise GroupingError(f"{path}: cannot be read: {reason}") from None


def _line(place: str, text: str) -> Line:
    try:
        fields = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        raise GroupingError(f"{place}: not JSON: {reason}: {shown(text.rstrip())}") from None
    if not isinstance(fields, dict):
        raise GroupingError(f"{place}: must be a JSON object; given {shown(fields)}")
    return Line(place, fields)


def checked_id(place: str, value: object) -> str:
    """An entity's id as text. Raises `GroupingError` for what is neither an integer nor text with something in it."""
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise GroupingError(f"{place}: must be an id, an integer or text; given {shown(value)}")
    return str(value)
