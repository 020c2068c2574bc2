"""Requests that come whether or not earlier ones were answered, each with one outcome."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Literal

from sidebeam.client import AsyncClient, Draft, SidebeamError
from sidebeam.load.arrivals import arrivals
from sidebeam.load.pacer import Pacer
from sidebeam.resilience.expected import Expected

RIGHT, WRONG, HUNG = "RIGHT", "WRONG", "HUNG"
GRACE_S = 2.0  # beyond its deadline: a call that has no outcome by then hangs
LEAD_S = 0.05  # for the pacer's thread to be up before the first arrival
MODEL_SHARE = 0.5  # of the requests want the draft model's drafts; the others leave it to the sidecar

DraftChoice = Literal["auto"] | Draft


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request: RIGHT, WRONG, HUNG or gRPC's code. Times are `time.perf_counter`'s, in seconds."""

    intended: float
    sent: float
    ended: float
    word: str


class OpenLoad:
    """`rate` requests a second, at a poisson process's times, for histories drawn from those of `expected`."""

    def __init__(self, client: AsyncClient, expected: Expected, rate: float, deadline_s: float, random: Random) -> None:
        self.outcomes: list[Outcome] = []
        self._client = client
        self._expected = expected
        self._rate = rate
        self._deadline_s = deadline_s
        self._random = random
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send requests within the block; then wait until each has an outcome. An error in the block ends them all."""
        start = time.perf_counter() + LEAD_S
        due = (start + at for at in arrivals("poisson", self._rate, math.inf, Random(self._random.random())))
        try:
            with Pacer(due, self._arrive):
                yield
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()

    def _arrive(self, due: float) -> None:
        number = self._random.randrange(len(self._expected.histories))
        draft: DraftChoice = Draft() if self._random.random() < MODEL_SHARE else "auto"
        task = asyncio.ensure_future(self._ask(number, draft, due))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, number: int, draft: DraftChoice, intended: float) -> None:
        expected, sent = self._expected, time.perf_counter()
        try:
            async with asyncio.timeout(self._deadline_s + GRACE_S):
                answer = await self._client.recommend(
                    history=expected.histories[number],
                    top_k=expected.top_k,
                    draft=draft,
                    timeout_s=self._deadline_s,
                )
            word = RIGHT if expected.is_right(number, answer) else WRONG
        except SidebeamError as error:
            word = error.code.name
        except TimeoutError:
            word = HUNG
        self.outcomes.append(Outcome(intended, sent, time.perf_counter(), word))
