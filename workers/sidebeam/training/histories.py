"""What users did: items with their semantic IDs, and each user's items in time order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidebeam.training.error import TrainingError

SID_TOKEN = re.compile(r"<[^<>\s]+>")
PARTS = ("train", "valid", "test")
SHOWN = 60  # characters of a bad value that an error repeats


@dataclass(frozen=True, slots=True)
class Items:
    """The items of a catalog in file order; `sids` holds one tuple of `depth` tokens per item."""

    ids: tuple[str, ...]
    sids: tuple[tuple[str, ...], ...]
    index: Mapping[str, int]

    @property
    def depth(self) -> int:
        """Tokens per SID, L."""
        return len(self.sids[0])

    @classmethod
    def open(cls, path: Path) -> Items:
        """Reads `{"<item id>": ["<a_47>", ...], ...}`.

        Raises `TrainingError` for a file that is not such an object, a repeated id or SIDs of unequal length.
        """
        try:
            pairs = json.loads(_read(path), object_pairs_hook=list)
        except json.JSONDecodeError as error:
            raise TrainingError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
        if not isinstance(pairs, list) or not pairs or not all(isinstance(pair, tuple) for pair in pairs):
            raise TrainingError(f"{path}: must hold one JSON object with at least one item id and its SID tokens")
        index: dict[str, int] = {}
        for item_id, sid in pairs:
            if item_id in index:
                raise TrainingError(f"{path}: item {item_id!r} stands in the file twice")
            _check_sid(path, item_id, sid, depth=len(pairs[0][1]))
            index[item_id] = len(index)
        return cls(tuple(index), tuple(tuple(sid) for _, sid in pairs), index)


@dataclass(frozen=True, slots=True)
class History:
    """One user's item indices, oldest first, cut into what is learnt, what selects the model and what tests it."""

    user: str
    train: tuple[int, ...]
    valid: tuple[int, ...]
    test: tuple[int, ...]


def read_interactions(path: Path, items: Items) -> list[History]:
    """Reads one `{"user": .., "train": [..], "valid": [..], "test": [..]}` per line; ids may be integers or strings.

    Raises `TrainingError` naming file, line and value for bad JSON, missing fields and ids that `items` does not have.
    """
    histories = [_history(path, number, line, items) for number, line in _lines(path)]
    if not histories:
        raise TrainingError(f"{path}: holds no users")
    return histories


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise TrainingError(f"{path}: cannot be read: {reason}") from None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(_read(path).split("\n"), start=1):
        if line.strip():
            yield number, line


def _check_sid(path: Path, item_id: str, sid: Any, depth: int) -> None:
    if not isinstance(sid, list) or not sid or not all(isinstance(token, str) for token in sid):
        raise TrainingError(f"{path}: item {item_id!r} must have a list of SID tokens, not {_shown(sid)}")
    if len(sid) != depth:
        raise TrainingError(f"{path}: item {item_id!r} has {len(sid)} SID tokens where the first item has {depth}")
    for token in sid:
        if not SID_TOKEN.fullmatch(token):
            raise TrainingError(f"{path}: item {item_id!r} has the SID token {_shown(token)}; one looks like <a_47>")


def _history(path: Path, number: int, line: str, items: Items) -> History:
    place = f"{path}, line {number}"
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise TrainingError(f"{place}: not JSON: {error.msg}: {_shown(line)}") from None
    if not isinstance(record, dict) or "train" not in record:
        raise TrainingError(f"{place}: must be an object with the field 'train': {_shown(record)}")
    parts = [_indices(f"{place}, {part}", record.get(part, []), items) for part in PARTS]
    return History(str(record.get("user", number)), *parts)


def _indices(place: str, ids: Any, items: Items) -> tuple[int, ...]:
    if not isinstance(ids, list):
        raise TrainingError(f"{place}: must be a list of item ids, not {_shown(ids)}")
    for item_id in ids:
        if isinstance(item_id, bool) or not isinstance(item_id, int | str) or str(item_id) not in items.index:
            raise TrainingError(f"{place}: item id {_shown(item_id)} is not one of the {len(items.ids)} items")
    return tuple(items.index[str(item_id)] for item_id in ids)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
