"""Permits to have the target work: a request holds one until it ends, and waits in line for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

STANDING = 0.5  # of its patience, waited by the first in line: more come than can be worked on


@dataclass(frozen=True, slots=True)
class _Waiting:
    """One in line; `since` is of the event loop's clock."""

    turn: asyncio.Future[None]
    since: float
    patience_s: float

    def is_impatient(self, now: float) -> bool:
        return now - self.since > STANDING * self.patience_s


class Permits:
    """As many as `limit()` says at the moment; whoever gives up leaves the line.

    First come, first served, until the line stands: then the last to come is the next. In a line that is always as long
    as patience lasts, each would else wait that long for nothing. So some do not wait, and the others are turned away
    in any case.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._held = 0
        self._line: deque[_Waiting] = deque()

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
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        place = _Waiting(turn, loop.time(), timeout_s)
        self._line.append(place)
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except BaseException:
            if place in self._line:
                self._line.remove(place)
            if turn.done() and not turn.cancelled():  # called and gone at the same moment
                self._held -= 1
                self._call_next()
            raise
        self._held -= 1  # it was counted when it was called, so that no one takes its place on the way

    def _call_next(self) -> None:
        while self._line and self._held < self._limit():
            stands = self._line[0].is_impatient(asyncio.get_running_loop().time())
            turn = (self._line.pop() if stands else self._line.popleft()).turn
            if not turn.done():
                self._held += 1
                turn.set_result(None)
