"""A value that is read from files, and read again when they change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from sidebeam.server.lifecycle.reloads import Told
from sidebeam.server.lifecycle.seen_files import SeenFiles

T = TypeVar("T")


class KeptFile(Generic[T]):
    """Opening it reads the files; what `read` raises is raised. Later, files that are bad change nothing.

    `name` is what the log calls it. `read` raises ValueError, worded for users, for files that cannot be used.
    """

    def __init__(self, name: str, files: Sequence[Path], read: Callable[[], T], told: Told) -> None:
        self.name = name
        self._seen = SeenFiles(files)
        self._read = read
        self._told = told
        self.value = read()

    def look(self) -> None:
        """Read the files if they are not what they were, good or bad, when they were last looked at."""
        if not self._seen.have_changed():
            return
        log = structlog.get_logger()
        try:
            self.value = self._read()
        except (ValueError, OSError) as error:  # OSError: of a file that goes while it is read
            log.error(f"{self.name}_not_reloaded", reason=str(error), kept="what was read before")
            self._told("refused")
        else:
            log.info(f"{self.name}_reloaded", files=[str(file) for file in self._seen.files])
            self._told("taken")

    async def look_apart(self, asked: bool) -> None:
        """Look away from the event loop: a disk may be slow."""
        await asyncio.to_thread(self.look)
