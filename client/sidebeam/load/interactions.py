"""Histories to ask about, from a file as `sidebeam train` reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sidebeam.load.error import LoadError
from sidebeam.load.lines import read_lines, shown

PARTS = ("train", "valid")  # what `sidebeam evaluate` asks about, too


def read_histories(path: Path) -> list[tuple[str, ...]]:
    """The items of each line's "train" and "valid", oldest first; users without any are left out.

    Raises LoadError naming file, line and value.
    """
    histories = []
    for number, line in read_lines("--interactions", path):
        place = f"--interactions {path}, line {number}"
        try:
            user = json.loads(line)
        except json.JSONDecodeError as error:
            raise LoadError(f"{place}: not JSON: {error.msg}: {shown(line)}") from None
        if not isinstance(user, dict) or "train" not in user:
            raise LoadError(f"{place}: must be an object with the field 'train': {shown(user)}")
        history = tuple(item for part in PARTS for item in _item_ids(f"{place}, {part}", user.get(part, [])))
        if history:
            histories.append(history)
    if not histories:
        raise LoadError(f"--interactions {path}: holds no user with items")
    return histories


def _item_ids(place: str, ids: Any) -> list[str]:
    if not isinstance(ids, list):
        raise LoadError(f"{place}: must be a list of item ids, not {shown(ids)}")
    for item_id in ids:
        if isinstance(item_id, bool) or not isinstance(item_id, int | str):
            raise LoadError(f"{place}: {shown(item_id)} is not an item id; one is a text or a whole number")
    return [str(item_id) for item_id in ids]
