"""Files of generated texts: `{"entity": id, "text": text}` per line."""

from __future__ import annotations

from pathlib import Path

from sidebeam.grouping.error import GroupingError
from sidebeam.grouping.lines import read_lines


def read_texts(path: Path) -> dict[str, str]:
    """The text of each entity; other fields are not looked at, and lines of an `error` without a text are left out.

    Raises `GroupingError` naming file, line and value for a missing text, a bad id and a repeated entity.
    """
    texts: dict[str, str] = {}
    places: dict[str, str] = {}
    for line in read_lines(path):
        entity = line.identifier("entity")
        if "error" in line.fields and "text" not in line.fields:
            continue
        if entity in places:
            raise GroupingError(f"{line.place}: entity {entity!r} stands in the file twice, first at {places[entity]}")
        places[entity] = line.place
        texts[entity] = line.text("text")
    if not texts:
        raise GroupingError(f"{path}: holds no texts")
    return texts
