"""Permits to have the target work: a request holds one until it ends, and waits in line for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Permits:
    """As many as `limit()` says at the moment. First come, first served; whoever gives up leaves the line."""

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._held = 0
        self._line: deque[asyncio.Future[None]] = deque()

    @property
    def held(self) -> int:
        """How many requests have one."""
        return self._held

    @property
    def waiting(self) -> int:
        """How many requests wait for one."""
        return len(self._line)

    @asynccontextmanager
    async def one(self, timeout_s: float) -> AsyncIterator[None]:
        """Hold a permit for the length of the block. Raises TimeoutError if there is none within `timeout_s`."""
        if self._line or self._held >= self._limit():
            await self._wait(timeout_s)
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self._call_next()

    async def _wait(self, timeout_s: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except BaseException:
            if turn in self._line:
                self._line.remove(turn)
            if turn.done() and not turn.cancelled():  # called and gone at the same moment
                self._held -= 1
                self._call_next()
            raise
        self._held -= 1  # it was counted when it was called, so that no one takes its place on the way

    def _call_next(self) -> None:
        while self._line and self._held < self._limit():
            turn = self._line.popleft()
            if not turn.done():
                self._held += 1
                turn.set_result(None)
