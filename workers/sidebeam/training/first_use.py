"""Folders that are made when they are first asked for, and kept."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def made_once(folder: Path, lock: Path, fill: Callable[[Path], None]) -> Path:
    """`folder`, filled by `fill` unless it is there.

    The folder appears when it is complete, so a killed first use leaves nothing that a later one could trip over, and
    an interrupted or failed one nothing at all. Two first uses at the same time: the second waits for the first, at
    `lock`, a file beside the folder.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(lock):
        if not folder.is_dir():
            partial = folder.parent / f".{folder.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                fill(partial)
                partial.rename(folder)
            except BaseException:  # Ctrl-C, too
                shutil.rmtree(partial, ignore_errors=True)
                raise
    return folder


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds a lock that the system releases when this process ends, however it ends."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
