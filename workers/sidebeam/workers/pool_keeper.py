"""The one writer of a deployment's pools: finished texts are queued at once, and written some moments later."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from pathlib import Path

import structlog

from sidebeam.knowledge.error import KnowledgeError
from sidebeam.knowledge.folder import LOCK
from sidebeam.knowledge.pools import Pools
from sidebeam.worker.v1 import draft_pb2

PAUSE_S = 1.0  # between two commits: each costs this worker, and every reader, tens of milliseconds
SHARE = 5.0  # writing takes at most one part in so many of the worker's time
RETRY_S = 10.0  # after pools that could not be written: another process has them, or the disk is full
IDLE_S = 30.0  # then others may write, such as `sidebeam knowledge pools delete`
MOST_QUEUED = 10_000  # texts; of more, the oldest are dropped
JOURNAL_BYTES = 1 << 18  # every change makes all readers take in the whole journal; a longer one becomes a snapshot,
JOURNAL_PART = 16  # unless it is shorter than one part in so many of the pools


class PoolKeeper:
    """`learn` belongs to the event loop, everything that touches the disk to the thread that `run` lends it.

    The pools are made with the first text where there are none, and held only while there is something to write.
    """

    def __init__(self, folder: Path, fingerprint: str, end: int | None) -> None:
        self.fingerprint = fingerprint
        self._folder, self._end = folder, end
        self._queue: deque[draft_pb2.LearnRequest] = deque(maxlen=MOST_QUEUED)
        self._unwritten = 0  # taken from the queue, but not on disk
        self._wake = asyncio.Event()
        self._pools: Pools | None = None
        self._log = structlog.get_logger().bind(folder=str(folder))

    def learn(self, text: draft_pb2.LearnRequest) -> None:
        """Queue a text."""
        self._queue.append(text)
        self._wake.set()

    async def run(self) -> None:
        """Write what is queued, again and again, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._wake.wait()
            except TimeoutError:
                await asyncio.to_thread(self._let_go)
                continue
            self._wake.clear()
            await asyncio.sleep(PAUSE_S)  # texts that come together are written together
            started = time.monotonic()
            if not await asyncio.to_thread(self.write):
                await asyncio.sleep(RETRY_S)
                self._wake.set()
            await asyncio.sleep(SHARE * (time.monotonic() - started))

    def write(self) -> bool:
        """Write all that is queued; False if the pools do not take it now. One thread at a time."""
        try:
            pools = self._open()
            while self._queue:
                self._take(pools, self._queue.popleft())
            if not self._unwritten:
                return True
            learned = pools.commit()
            self._unwritten = 0
            self._log.info("texts_learned", texts=learned, version=pools.version)
            if self._journal_bytes() > max(JOURNAL_BYTES, pools.nbytes // JOURNAL_PART):
                pools.compact()
                self._log.info("pools_compacted", version=pools.version, texts=pools.n_texts)
        except Exception as error:  # whatever it is, drafts must go on
            self._log.warning("pools_not_written", reason=str(error), texts=len(self._queue) + self._unwritten)
            return False
        return True

    def close(self) -> None:
        """Write what is left, and let others write; to be called when `run` has ended."""
        if self._queue or self._unwritten:
            self.write()
        self._let_go()

    def _open(self) -> Pools:
        if self._pools is None:
            if _is_empty(self._folder):
                self._pools = Pools.create(self._folder, self.fingerprint, self._end)
            else:
                self._pools = Pools.open(self._folder, self.fingerprint, write=True)
        return self._pools

    def _take(self, pools: Pools, text: draft_pb2.LearnRequest) -> None:
        try:
            group = text.group or pools.group_of(text.entity_id)
            pools.learn(text.entity_id, list(text.tokens), group)
            self._unwritten += 1
        except (KnowledgeError, ValueError) as error:
            self._log.warning("text_refused", request_id=text.request_id, reason=str(error))

    def _let_go(self) -> None:
        if self._pools is not None and not self._unwritten:
            self._pools.close()
            self._pools = None

    def _journal_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._folder.glob("*.journal"))


def _is_empty(folder: Path) -> bool:
    return not folder.exists() or (folder.is_dir() and all(path.name == LOCK for path in folder.iterdir()))
