"""Teacher data on disk: shards that appear whole, and a manifest that says which there are and of what."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sidebeam.alignment.origin import Origin
from sidebeam.alignment.records import Records
from sidebeam.training.error import TrainingError

SCHEMA = 1
MANIFEST = "manifest.json"

Split = Literal["train", "valid"]
SPLITS: tuple[Split, ...] = ("train", "valid")


@dataclass(frozen=True, slots=True)
class Shard:
    """Samples `first` to `end` of a split."""

    split: Split
    number: int
    first: int
    end: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.split}-{self.number:05}.safetensors"


@dataclass(frozen=True, slots=True)
class Written:
    """A shard's file as it was when it was whole."""

    samples: int
    bytes: int
    sha256: str


@dataclass(slots=True)
class TeacherFolder:
    """A shard counts once the manifest lists it, and the manifest lists it once its file stands under its name."""

    root: Path
    origin: Origin
    samples: Mapping[Split, int]
    written: dict[str, Written] = field(default_factory=dict)

    @classmethod
    def begin(cls, root: Path, origin: Origin, samples: Mapping[Split, int], *, resume: bool) -> Self:
        """A folder to write to: a new one, or the unfinished one that `resume` continues.

        Raises `TrainingError` where teacher data are without `resume`, or are not with it, or of another origin.
        """
        path = root / MANIFEST
        if not resume:
            if path.exists():
                raise TrainingError(f"{path}: there already; continue it with --resume, or name another --out")
            return cls(root, origin, samples)
        found = cls.open(root)
        origin.check(found.origin, path)
        for split in SPLITS:
            if found.samples[split] != samples[split]:
                raise TrainingError(f"{path}: {found.samples[split]} {split} samples, now {samples[split]}")
        found.written = {name: state for name, state in found.written.items() if not found.damage(name)}
        return found

    @classmethod
    def open(cls, root: Path) -> Self:
        """What stands in a folder, finished or not. Raises `TrainingError` if it is not teacher data we can read."""
        path = root / MANIFEST
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise TrainingError(f"{root}: no teacher data; `sidebeam train teacher` makes them") from None
        except (OSError, ValueError) as error:
            raise TrainingError(f"{path}: cannot be read: {error}") from None
        if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
            given = raw.get("schema") if isinstance(raw, dict) else raw
            raise TrainingError(f"{path}: schema must be {SCHEMA}. Given: {given!r}")
        try:
            written = {name: Written(**state) for name, state in raw["shards"].items()}
            return cls(root, Origin(**raw["origin"]), {split: int(raw["samples"][split]) for split in SPLITS}, written)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise TrainingError(f"{path}: damaged: {error!r}") from None

    def shards(self, split: Split) -> list[Shard]:
        """All shards of a split, written or not."""
        size, samples = self.origin.shard_size, self.samples[split]
        firsts = range(0, samples, size)
        return [Shard(split, n, first, min(first + size, samples)) for n, first in enumerate(firsts)]

    @property
    def missing(self) -> list[Shard]:
        """Shards that are still to be written."""
        return [shard for split in SPLITS for shard in self.shards(split) if shard.name not in self.written]

    @property
    def fingerprint(self) -> str:
        """Of all that the shards hold."""
        return hashlib.sha256("".join(self.written[name].sha256 for name in sorted(self.written)).encode()).hexdigest()

    @property
    def nbytes(self) -> int:
        """Bytes of all shards."""
        return sum(state.bytes for state in self.written.values())

    def save(self) -> None:
        """Writes the manifest."""
        state = {
            "schema": SCHEMA,
            "origin": asdict(self.origin),
            "samples": dict(self.samples),
            "shards": {name: asdict(self.written[name]) for name in sorted(self.written)},
        }
        text = json.dumps(state, indent=1) + "\n"
        _replace(self.root / MANIFEST, lambda partial: partial.write_text(text, encoding="utf-8"))

    def add(self, shard: Shard, records: Records) -> None:
        """Writes a shard, then the manifest that lists it."""
        path = self.root / shard.name
        arrays = {entry.name: np.ascontiguousarray(getattr(records, entry.name)) for entry in fields(Records)}
        _replace(path, lambda partial: save_file(arrays, partial))
        self.written[shard.name] = Written(len(records), path.stat().st_size, _sha256(path))
        self.save()

    def read(self, split: Split) -> Records:
        """All samples of a split, in memory. Raises `TrainingError` naming what is missing or damaged."""
        if self.missing:
            every = len(self.missing) + len(self.written)
            raise TrainingError(
                f"{self.root}: {len(self.missing)} of {every} shards are not made yet; "
                "`sidebeam train teacher --resume` makes them"
            )
        parts = [self._read(shard.name) for shard in self.shards(split)]
        return Records.join(parts) if parts else Records.none()

    def damage(self, name: str) -> str:
        """What is wrong with a shard's file; "" if nothing is."""
        path, state = self.root / name, self.written[name]
        try:
            size = path.stat().st_size
            if size != state.bytes:
                return f"{size} bytes instead of {state.bytes}"
            return "" if _sha256(path) == state.sha256 else "its content is not what was written"
        except OSError as error:
            return str(error.strerror)

    def _read(self, name: str) -> Records:
        path = self.root / name
        if damage := self.damage(name):
            raise TrainingError(f"{path}: damaged: {damage}; `sidebeam train teacher --resume` makes it again")
        try:
            with safe_open(path, framework="pt") as file:  # maps the file, where numpy's would read it
                arrays: dict[str, Any] = {key: file.get_tensor(key).numpy() for key in file.keys()}  # noqa: SIM118
            return Records(**arrays)
        except (SafetensorError, TypeError) as error:
            raise TrainingError(f"{path}: not a shard of teacher data: {error}") from None


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Writes beside `path`, then moves: a reader never sees half a file, and neither does a reader after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    write(partial)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
