"""What entities are: named attributes of users or items."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from sidebeam.grouping.error import GroupingError, shown
from sidebeam.grouping.lines import Line, read_lines

Value = str | float | tuple[str, ...]
Attributes = Mapping[str, Mapping[str, Value]]
"""By entity, then by attribute. Numbers are floats, lists are tuples; what is missing is not there."""

ENTITY = "entity"


def read_attributes(path: Path) -> dict[str, dict[str, Value]]:
    """Reads one `{"entity": id, "<attribute>": value, ...}` per line.

    A value is text, a number, true or false, or a list of texts; null, "" and [] say that it is missing. Raises
    `GroupingError` naming file, line, attribute and value for anything else, and for a repeated entity.
    """
    attributes: dict[str, dict[str, Value]] = {}
    places: dict[str, str] = {}
    for line in read_lines(path):
        entity = line.identifier(ENTITY)
        if entity in places:
            raise GroupingError(f"{line.place}: entity {entity!r} stands in the file twice, first at {places[entity]}")
        places[entity] = line.place
        attributes[entity] = _values(line)
    return attributes


def _values(line: Line) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for name, given in line.fields.items():
        if name == ENTITY or given is None or given in ("", []):
            continue
        match given:
            case bool():
                values[name] = "yes" if given else "no"
            case int() | float() if math.isfinite(given):
                values[name] = float(given)
            case str():
                values[name] = given
            case list() if all(isinstance(each, str) for each in given):
                values[name] = tuple(given)
            case _:
                raise GroupingError(
                    f"{line.place}, {name}: must be text, a finite number, true, false or a list of texts; "
                    f"given {shown(given)}"
                )
    return values
