"""Whom the knowledge demo has texts written about: what its bundle holds of users and items."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

Kind = Literal["users", "items"]


@dataclass(frozen=True, slots=True)
class Subject:
    """A user or an item, and what the model is asked about it. `group` None: the one in which the pools hold it."""

    entity: str
    prompt: str
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Cast:
    """The users or the items of a demo, no one twice: some to show, some to compare, some to ask before that."""

    kind: Kind
    shown: tuple[Subject, ...]
    compared: tuple[Subject, ...]
    others: tuple[Subject, ...]

    @classmethod
    def of(cls, bundle: Path, kind: Kind, *, shown: int, compared: int, others: int) -> Cast:
        """As many as the bundle has of so many; those to show come first."""
        found = list(islice(_read(bundle, kind), shown + compared + others))
        most = shown + compared
        return cls(kind, tuple(found[:shown]), tuple(found[shown:most]), tuple(found[most:]))


def _read(bundle: Path, kind: Kind) -> Iterator[Subject]:
    """Those whose texts are due, spread over the file: neighbours in it are too much alike."""
    groups: dict[str, str] = json.loads((bundle / "groups.json").read_text(encoding="utf-8"))
    lines: Sequence[str] = (bundle / f"prompts-{kind}-new.jsonl").read_text(encoding="utf-8").splitlines()
    step = _coprime(len(lines))
    for place in range(len(lines)):
        line = json.loads(lines[place * step % len(lines)])
        yield Subject(line["entity"], line["prompt"], groups.get(line["entity"]))


def _coprime(count: int) -> int:
    """A step that visits all of so many places, far from one to the next."""
    return next((step for step in (389, 397, 401) if count % step), 1)
