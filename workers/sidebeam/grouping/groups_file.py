"""The groups file: `{"<entity>": "<group>"}`, and beside it what it was made from."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sidebeam.grouping.error import GroupingError, shown
from sidebeam.grouping.lines import read_text

VERSION = 1


def provenance_path(path: Path) -> Path:
    """Where the provenance of a groups file stands: `groups.json` has `groups.about.json`."""
    return path.with_name(f"{path.stem}.about.json")


def write_groups(path: Path, groups: Mapping[str, str], made: Mapping[str, Any]) -> None:
    """Writes both files, each whole or not at all; `made` says from what and how.

    Raises `GroupingError` for a file that cannot be written; what stood there then still does.
    """
    content = json.dumps(dict(groups), ensure_ascii=False, indent=0) + "\n"
    about = {
        "format": "sidebeam groups",
        "version": VERSION,
        "sha256": hashlib.sha256(content.encode()).hexdigest(),
        "entities": len(groups),
        "groups": dict(Counter(groups.values()).most_common()),
        "made": dict(made),
    }
    told = json.dumps(about, ensure_ascii=False, indent=1) + "\n"
    texts = {provenance_path(path): told, path: content}
    partials = {target: target.with_name(f".{target.name}.partial") for target in texts}
    try:
        for target, text in texts.items():
            partials[target].write_text(text, encoding="utf-8")
        for target, partial in partials.items():
            os.replace(partial, target)
    except OSError as error:
        raise GroupingError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)


def read_groups(path: Path) -> dict[str, str]:
    """The group of each entity. Raises `GroupingError` for a file that is not one JSON object of texts by entity."""
    try:
        pairs = json.loads(read_text(path), object_pairs_hook=list)
    except json.JSONDecodeError as error:
        raise GroupingError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
    if not isinstance(pairs, list) or not pairs or not all(isinstance(pair, tuple) for pair in pairs):
        raise GroupingError(f"{path}: must hold one JSON object of groups by entity, with at least one")
    groups: dict[str, str] = {}
    for entity, group in pairs:
        if entity in groups:
            raise GroupingError(f"{path}: entity {entity!r} stands in the file twice")
        if not isinstance(group, str) or not group or not _is_text(entity + group):
            raise GroupingError(f"{path}, {entity!r}: must be a group's name; given {shown(group)}")
        groups[entity] = group
    return groups


def _is_text(name: str) -> bool:
    """JSON may hold halves of characters, which no file takes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
