"""What users did: each user's items in time order, cut into what is known, what validates and what tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sidebeam.grouping.error import GroupingError, shown
from sidebeam.grouping.lines import Line, checked_id, read_lines

Kind = Literal["users", "items"]


@dataclass(frozen=True, slots=True)
class UserLog:
    """One user's item ids, oldest first. Groups, prompts and texts are made from `train` alone: the rest is later."""

    user: str
    train: tuple[str, ...]
    valid: tuple[str, ...] = ()
    test: tuple[str, ...] = ()


def read_logs(path: Path) -> list[UserLog]:
    """Reads one `{"user": .., "train": [..], "valid": [..], "test": [..]}` per line; ids are integers or text.

    Raises `GroupingError` naming file, line and value for bad JSON, a missing field, a bad id and a repeated user.
    """
    logs: list[UserLog] = []
    places: dict[str, str] = {}
    for line in read_lines(path):
        user = line.identifier("user")
        if user in places:
            raise GroupingError(f"{line.place}: user {user!r} stands in the file twice, first at {places[user]}")
        places[user] = line.place
        if "train" not in line.fields:
            raise GroupingError(f"{line.place}: the field 'train' is missing: {shown(dict(line.fields))}")
        logs.append(UserLog(user, *(_ids(line, part) for part in ("train", "valid", "test"))))
    return logs


def interaction_counts(logs: Iterable[UserLog], kind: Kind) -> dict[str, int]:
    """How many known interactions each user, or each item, has."""
    if kind == "users":
        return {log.user: len(log.train) for log in logs}
    return dict(Counter(item for log in logs for item in log.train))


def _ids(line: Line, part: str) -> tuple[str, ...]:
    ids = line.fields.get(part, [])
    if not isinstance(ids, list):
        raise GroupingError(f"{line.place}, {part}: must be a list of item ids; given {shown(ids)}")
    return tuple(checked_id(f"{line.place}, {part}", item) for item in ids)
