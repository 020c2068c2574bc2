"""The folder of pools: a manifest that names one generation of files, replaced whole, and its one writer's lock."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from sidebeam.knowledge.error import PoolError
from sidebeam.knowledge.journal import create_journal
from sidebeam.knowledge.pool_file import replacing, write_segment
from sidebeam.knowledge.segment import Segment

SCHEMA = 1
MANIFEST = "manifest.json"
LOCK = ".lock"
SUFFIXES = (".pool", ".journal")


@dataclass(frozen=True, slots=True)
class Manifest:
    """Which files there are, and of what."""

    fingerprint: str  # of the tokenizer
    eos: int | None  # the token that ends a text; None: nothing does
    generation: int
    everybody: str | None  # the global pool's file; None: it has no texts
    groups: dict[str, str]  # file by group
    journal: str

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises `PoolError` if the folder holds no pools that we can read."""
        path = folder / MANIFEST
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise PoolError(f"{folder}: no pools; `sidebeam knowledge pools build` makes them") from None
        except (OSError, ValueError) as error:
            raise PoolError(f"{path}: cannot be read: {error}") from None
        if not isinstance(raw, dict) or raw.pop("schema", None) != SCHEMA:
            raise PoolError(f"{path}: schema must be {SCHEMA}")
        try:
            manifest = cls(**raw)
            names = [manifest.journal, *manifest.groups.values(), *([manifest.everybody] if manifest.everybody else [])]
        except (TypeError, AttributeError) as error:
            raise PoolError(f"{path}: damaged: {error}") from None
        if any(not isinstance(name, str) or Path(name).name != name for name in names):
            raise PoolError(f"{path}: damaged: it names files elsewhere")
        return manifest

    @property
    def files(self) -> set[str]:
        """Names of all files."""
        return {self.journal, *self.groups.values(), *([self.everybody] if self.everybody else [])}


class Writer:
    """The one that may write to a folder; a context manager. Raises `PoolError` while there is another.

    It makes the folder where there is none, and removes it again if an error left it empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made = not folder.exists()
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = (self.folder / LOCK).open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise PoolError(f"{self.folder}: another process is writing these pools") from None
        self._lock = lock
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is None:
            return
        if error is not None and self._made and [path.name for path in self.folder.iterdir()] == [LOCK]:
            (self.folder / LOCK).unlink()
            self.folder.rmdir()
        self._lock.close()
        self._lock = None

    def replace(
        self, fingerprint: str, eos: int | None, everybody: Segment | None, groups: Mapping[str, Segment]
    ) -> Manifest:
        """Writes a generation, then makes it the folder's. Raises `OSError`, with the folder as it was.

        Whoever has the files before open keeps them.
        """
        before = self._generation()
        manifest = Manifest(
            fingerprint=fingerprint,
            eos=eos,
            generation=before + 1,
            everybody=None if everybody is None else f"global-{before + 1}.pool",
            groups={name: f"group-{number}-{before + 1}.pool" for number, name in enumerate(sorted(groups))},
            journal=f"changes-{before + 1}.journal",
        )
        try:
            if everybody is not None and manifest.everybody is not None:
                write_segment(self.folder / manifest.everybody, everybody, fingerprint)
            for name, file in manifest.groups.items():
                write_segment(self.folder / file, groups[name], fingerprint)
            create_journal(self.folder / manifest.journal)
            text = json.dumps({"schema": SCHEMA, **asdict(manifest)}, indent=1, ensure_ascii=False) + "\n"
            with replacing(self.folder / MANIFEST) as out:
                out.write(text.encode())
        except BaseException:
            self._sweep(manifest.files, gone=True)
            raise
        self._sweep(manifest.files, gone=False)
        return manifest

    def _generation(self) -> int:
        numbers = [0]
        for path in self.folder.iterdir():
            number = path.stem.rpartition("-")[2]
            if path.suffix in SUFFIXES and number.isdecimal():
                numbers.append(int(number))
        return max(numbers)

    def _sweep(self, named: set[str], *, gone: bool) -> None:
        """Removes pool files: those `named`, or else all others, which a crash may have left."""
        for path in list(self.folder.iterdir()):
            if path.suffix in SUFFIXES and (path.name in named) == gone:
                os.unlink(path)
