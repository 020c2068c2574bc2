"""What is asked: requests with weights, of which each arrival draws one.

A mix file holds one JSON object a line:

    {"weight": 9, "name": "shelf", "request": {"history": {"item_ids": ["12", "55"]}, "top_k": 10}}
    {"weight": 1, "name": "diverse", "request": {"top_k": 20, "verification": "VERIFICATION_RELAXED"}}

`request` is a `sidebeam.v1.RecommendRequest` in protobuf's JSON form, as `grpcurl -d` and `buf curl -d` take it. One
without history, prompt and tokens gets the history of a user of `--interactions`, each time of another one. `weight`
(1) is how often a line is drawn over the others; lines of one `name` are reported together, too.
"""

from __future__ import annotations

import bisect
import difflib
import itertools
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from google.protobuf import descriptor_pool, json_format

from sidebeam.load.error import LoadError
from sidebeam.load.lines import read_lines, shown
from sidebeam.v1 import recommendation_pb2 as pb

FIELDS = ("weight", "name", "request")
CONTEXTS = ("history", "prompt", "tokens")
MOST_NAME_CHARS = 40
MOST_WEIGHT = 1e9

History = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a mix; `place` is what errors call it, `name` is "" for lines without one."""

    place: str
    name: str
    weight: float
    request: pb.RecommendRequest

    @property
    def has_context(self) -> bool:
        """Whether it says what to recommend for."""
        return any(self.request.HasField(field) for field in CONTEXTS)


@dataclass(frozen=True, slots=True)
class Ask:
    """What one arrival asks, and the name it is reported under."""

    name: str
    request: pb.RecommendRequest


class Mix:
    """Entries to draw from, and histories for those that have none."""

    def __init__(self, entries: Sequence[Entry], histories: Sequence[History]) -> None:
        """Raises LoadError if an entry needs histories and there are none."""
        self.entries = entries
        self._histories = histories
        self._sums = list(itertools.accumulate(entry.weight for entry in entries))
        for entry in entries:
            if not entry.has_context and not histories:
                raise LoadError(
                    f"{entry.place}: the request has none of {', '.join(CONTEXTS)}; give it one, "
                    "or give --interactions for histories"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """Each name once, in the order of the entries."""
        return tuple(dict.fromkeys(entry.name for entry in self.entries))

    def draw(self, random: Random) -> Ask:
        """Take an entry by weight, and a user where it needs one."""
        at = bisect.bisect_right(self._sums, random.random() * self._sums[-1])
        return self.ask(self.entries[min(at, len(self.entries) - 1)], random)

    def ask(self, entry: Entry, random: Random) -> Ask:
        """Make a request of `entry`."""
        if entry.has_context:
            return Ask(entry.name, entry.request)
        request = pb.RecommendRequest()
        request.CopyFrom(entry.request)
        request.history.item_ids.extend(random.choice(self._histories))
        return Ask(entry.name, request)


def read_entries(path: Path) -> list[Entry]:
    """Read a mix file. Raises LoadError naming file, line and value."""
    entries = list(_entries(path))
    if not entries:
        raise LoadError(f"--mix {path}: holds no requests")
    return entries


def _entries(path: Path) -> Iterator[Entry]:
    for number, line in read_lines("--mix", path):
        place = f"--mix {path}, line {number}"
        try:
            fields = json.loads(line)
        except json.JSONDecodeError as error:
            raise LoadError(f"{place}: not JSON: {error.msg}: {shown(line)}") from None
        if not isinstance(fields, dict) or not isinstance(fields.get("request"), dict):
            raise LoadError(f"{place}: must be an object with an object 'request': {shown(fields)}")
        for name in fields:
            if name not in FIELDS:
                raise LoadError(f"{place}: {_unknown(name, FIELDS)}")
        yield Entry(place, _name(place, fields), _weight(place, fields), _request(place, fields["request"]))


def _name(place: str, fields: dict[str, Any]) -> str:
    name = fields.get("name", "")
    if not isinstance(name, str) or not name.isprintable() or len(name) > MOST_NAME_CHARS:
        raise LoadError(f"{place}: name must be a printable text of at most {MOST_NAME_CHARS} characters: {name!r}")
    return name


def _weight(place: str, fields: dict[str, Any]) -> float:
    weight = fields.get("weight", 1)
    number = isinstance(weight, int | float) and not isinstance(weight, bool) and math.isfinite(weight)
    if not number or not 0 < weight <= MOST_WEIGHT:
        raise LoadError(f"{place}: weight must be a number above 0 and at most {MOST_WEIGHT:g}: {shown(weight)}")
    return float(weight)


def _request(place: str, fields: dict[str, Any]) -> pb.RecommendRequest:
    known = [name for field in pb.RecommendRequest.DESCRIPTOR.fields for name in (field.name, field.json_name)]
    for name in fields:
        if name not in known:
            raise LoadError(f"{place}: request: {_unknown(name, list(dict.fromkeys(known)))}")
    try:
        request = json_format.ParseDict(fields, pb.RecommendRequest())
    except (json_format.ParseError, TypeError, ValueError) as error:
        raise LoadError(f"{place}: request: {_explained(str(error))}") from None
    return request


def _explained(problem: str) -> str:
    """protobuf's words, with what an enum may be, which they lack."""
    problem = problem.split("\n")[0].rstrip(".")
    enum = re.search(r"for enum type ([\w.]+?)(?: at |$)", problem)
    if enum is None:
        return problem
    values = descriptor_pool.Default().FindEnumTypeByName(enum[1]).values_by_name
    return f"{problem}; there are {', '.join(name for name in values if not name.endswith('_UNSPECIFIED'))}"


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
    return f"no field {name!r}; {hint}"
