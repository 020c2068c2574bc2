"""A value that is read from files, and read again when they change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import structlog

T = TypeVar("T")

Contents = list[bytes | None]


class KeptFile(Generic[T]):
    """Opening it reads the files; what `read` raises is raised. Later, files that are bad change nothing.

    `name` is what the log calls it. `read` raises ValueError, worded for users, for files that cannot be used.
    """

    def __init__(self, name: str, files: Sequence[Path], read: Callable[[], T]) -> None:
        self.name = name
        self._files = files
        self._read = read
        self._seen = self._contents()
        self.value = read()

    def look(self) -> None:
        """Read the files if they are not what they were, good or bad, when they were last looked at."""
        contents = self._contents()
        if contents == self._seen:
            return
        self._seen = contents
        log = structlog.get_logger()
        try:
            self.value = self._read()
        except (ValueError, OSError) as error:  # OSError: of a file that goes while it is read
            log.error(f"{self.name}_not_reloaded", reason=str(error), kept="what was read before")
        else:
            log.info(f"{self.name}_reloaded", files=[str(file) for file in self._files])

    async def follow(self, interval_s: float) -> None:
        """Look again and again until cancelled, away from the event loop: a disk may be slow."""
        while True:
            await asyncio.sleep(interval_s)
            await asyncio.to_thread(self.look)

    def _contents(self) -> Contents:
        return [_content(file) for file in self._files]


def _content(file: Path) -> bytes | None:
    """None for what cannot be read. By content, not by time: a volume may swap links to files with the same times."""
    try:
        return file.read_bytes()
    except OSError:
        return None
