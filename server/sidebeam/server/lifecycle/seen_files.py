"""Files as they were when they were last looked at."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

SETTLED_S = 2.0  # what changed longer ago cannot have changed again under the same time

Digest = bytes
Stamp = tuple[int, ...]


class SeenFiles:
    """Tells by their content whether files have changed: a volume may swap links to files with the same times.

    A file is read only if it is not, to the last detail that the system tells, the one that was read before: catalogs
    are large. Not for two threads at a time.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = tuple(files)
        self._seen: dict[Path, tuple[Stamp | None, Digest | None]] = {}
        self.have_changed()

    def have_changed(self) -> bool:
        """Whether any is not what it was at the last look, missing ones included; may wait for a disk."""
        before = {file: seen[1] for file, seen in self._seen.items()}
        self._seen = {file: self._look(file) for file in self.files}
        return before != {file: seen[1] for file, seen in self._seen.items()}

    def _look(self, file: Path) -> tuple[Stamp | None, Digest | None]:
        try:
            stamp = _stamp(file.stat())
            known = self._seen.get(file)
            if known is not None and stamp is not None and known[0] == stamp:
                return known
            with file.open("rb") as content:
                return stamp, hashlib.file_digest(content, "sha256").digest()
        except OSError:
            return None, None


def _stamp(status: os.stat_result) -> Stamp | None:
    """What no two states of a file share; None for one that changed so lately that they might."""
    if abs(time.time() - max(status.st_ctime, status.st_mtime)) < SETTLED_S:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
