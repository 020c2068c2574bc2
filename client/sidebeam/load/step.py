"""One step: requests for a time, at a rate or one after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from random import Random

from sidebeam.load.arrivals import arrivals
from sidebeam.load.caller import OK, Caller
from sidebeam.load.mix import Ask, Mix
from sidebeam.load.pacer import Pacer
from sidebeam.load.recording import Recording

LEAD_S = 0.05  # for threads to be up before the first arrival
AFTER_FAILURE_S = 0.01  # a closed loop would ask a server that fails at once as fast as it can


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What a step does. `rate` a second in an open loop, or else `concurrency` requests at a time in a closed one.

    Arrivals within `warm_up_s` are sent, but not measured. In an open loop, arrivals beyond `max_in_flight` are missed.
    The same `seed` makes the same arrivals and requests.
    """

    rate: float | None
    concurrency: int | None
    arrivals: str
    warm_up_s: float
    duration_s: float
    max_in_flight: int
    seed: str

    @property
    def title(self) -> str:
        """As people read it."""
        return f"{self.rate:g} requests/s" if self.rate is not None else f"{self.concurrency} at a time"


class Step:
    """A step under way; `recording` grows while it runs."""

    def __init__(self, plan: StepPlan, caller: Caller, mix: Mix) -> None:
        self.plan = plan
        self.began = time.perf_counter() + LEAD_S
        self.recording = Recording(self.began + plan.warm_up_s)
        self.in_flight = 0
        self.unfinished = 0  # measured requests that were under way when the run was stopped
        self.window_s = plan.duration_s  # shorter where the run was stopped
        self._caller = caller
        self._mix = mix
        self._random = Random(f"{plan.seed} requests")
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    async def run(self, stop: asyncio.Event) -> None:
        """Return when the last request has ended, or soon after `stop` is set: what is under way then is given up."""
        plan = self.plan
        total_s = plan.warm_up_s + plan.duration_s
        if plan.rate is None:
            end = self.began + total_s
            loops = [asyncio.ensure_future(self._one_by_one(end)) for _ in range(plan.concurrency or 1)]
            await self._until_done(asyncio.gather(*loops), stop)
            return
        random = Random(f"{plan.seed} arrivals")
        due = (self.began + at for at in arrivals(plan.arrivals, plan.rate, total_s, random))
        with Pacer(due, self._arrive) as pacer:
            await self._until_done(pacer.done.wait(), stop)
        await self._until_done(self._drained(), stop)

    async def _until_done(self, work: Awaitable[object], stop: asyncio.Event) -> None:
        working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not working.done():
            await self._give_up(working)
        elif not working.cancelled():
            working.result()

    async def _give_up(self, working: asyncio.Future[object]) -> None:
        if not self._stopped:
            self._stopped = True
            measured_s = time.perf_counter() - self.recording.start
            self.window_s = min(max(measured_s, 0.0), self.plan.duration_s)
        working.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(working, *self._tasks, return_exceptions=True)

    async def _drained(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _arrive(self, due: float) -> None:
        if self._stopped:
            return
        if self.in_flight >= self.plan.max_in_flight:
            self.recording.miss(due)
            return
        task = asyncio.ensure_future(self._ask(self._mix.draw(self._random), due))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _one_by_one(self, end: float) -> None:
        await asyncio.sleep(max(self.began - time.perf_counter(), 0.0))
        while (now := time.perf_counter()) < end:
            if not await self._answered(self._mix.draw(self._random), now):
                await asyncio.sleep(AFTER_FAILURE_S)

    async def _ask(self, ask: Ask, intended: float) -> None:
        await self._answered(ask, intended)

    async def _answered(self, ask: Ask, intended: float) -> bool:
        self.in_flight += 1
        try:
            outcome = await self._caller.call(ask, intended)
        except asyncio.CancelledError:
            self.unfinished += intended >= self.recording.start
            raise
        finally:
            self.in_flight -= 1
        self.recording.add(outcome)
        return outcome.code == OK
