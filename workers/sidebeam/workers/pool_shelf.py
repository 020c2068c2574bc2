"""Pools of earlier texts as a target worker has them: mapped for reading, at their newest version."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import structlog

from sidebeam.knowledge.folder import MANIFEST
from sidebeam.knowledge.pools import Pools

POLL_S = 0.5  # between two looks at the folder
SHARE = 20.0  # taking a change over takes at most one part in so many of the worker's time

Signature = tuple[tuple[str, int, int, int], ...]


class PoolShelf:
    """The pools of one folder. `pools` is None while there are none that can be used.

    `problem` says what is wrong with what lies there now; pools that were mapped before stay in use. "": nothing.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.pools: Pools | None = None
        self.problem = ""
        self._folder = folder
        self._fingerprint = fingerprint
        self._seen: Signature | None = None

    def look(self) -> None:
        """Take over what was written since the last look. To be called by one thread at a time."""
        now = _signature(self._folder)
        if now == self._seen:
            return
        self._seen = now
        log = structlog.get_logger()
        try:
            if self.pools is None:
                self.pools = Pools.open(self._folder, self._fingerprint)
            else:
                self.pools.refresh()
        except Exception as error:  # drafts are hints: texts are written without them
            self.problem = str(error)
            log.warning("pools_refused", folder=str(self._folder), reason=self.problem)
        else:
            self.problem = ""
            log.info("pools_open", folder=str(self._folder), version=self.pools.version, texts=self.pools.n_texts)

    async def watch(self) -> None:
        """Look again and again, beside the event loop, until cancelled."""
        while True:
            started = time.monotonic()
            await asyncio.to_thread(self.look)
            await asyncio.sleep(max(POLL_S, SHARE * (time.monotonic() - started)))


def _signature(folder: Path) -> Signature:
    """Differs whenever the manifest was replaced or a journal has grown; empty where there is nothing."""
    found = []
    for path in (folder / MANIFEST, *sorted(folder.glob("*.journal"))):
        try:
            stat = path.stat()
        except OSError:
            continue
        found.append((path.name, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(found)
