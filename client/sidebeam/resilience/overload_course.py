"""The loads that an overloaded sidecar is measured by, one after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sidebeam.load.caller import Caller
from sidebeam.load.client_check import LoopProbe
from sidebeam.load.distribution import Distribution
from sidebeam.load.mix import Mix
from sidebeam.load.step import Step, StepPlan
from sidebeam.load.summary import Summary, summarise
from sidebeam.resilience.process import family
from sidebeam.resilience.resources import Resources, slots_in_use
from sidebeam.resilience.status_watch import NotReadyError, StatusWatch
from sidebeam.v1 import status_pb2

SWEEP = (0.5, 0.65, 0.8, 0.9, 1.0, 1.15)  # of what a closed loop gets through
OVERLOAD = 3.0  # times the capacity
PATIENCE = 10.0  # times what a lone answer takes: the deadline where none is given
LEAST_DEADLINE_MS = 50.0
ANSWER_MS = 60_000.0  # the deadline where none is measured by
MOST_IN_FLIGHT = 100_000
SHARES = {"warm-up": 1 / 6, "alone": 1 / 10, "sweep": 1 / 6, "half": 1 / 2}  # of the overload's time
QUIET_S = 10.0  # for what was held to be given back
REST_S = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """`seconds` is how long the overload lasts; `requests` are sent in all, at least. `deadline_ms` None: measured."""

    seconds: float
    requests: int
    top_k: int
    deadline_ms: float | None
    seed: int
    options: Sequence[str] = ()


@dataclass(slots=True)
class Course:
    """What was measured. `sent` counts the requests between `before` and `after`.

    `cores` says of the steps other than the sweep's how many cores each process kept busy, the "client" among them.
    """

    deadline_ms: float
    alone: Summary
    before: Resources
    sweep: list[Summary] = field(default_factory=list)
    half: Summary | None = None
    over: Summary | None = None
    after: Resources | None = None
    sent: int = 0
    cores: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def capacity(self) -> float:
        """The best goodput of the sweep, requests a second."""
        return max(step.goodput_rps for step in self.sweep)


class Steps:
    """Every load in turn, on the front with that process id; `recommends` are of one connection each."""

    def __init__(
        self,
        plan: Plan,
        mix: Mix,
        recommends: Sequence[Callable[..., Any]],
        front: int,
        status: StatusWatch,
        progress: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._mix = mix
        self._recommends = recommends
        self._front = front
        self._status = status
        self._progress = progress
        self._cores: dict[str, dict[str, float]] = {}

    async def taken(self, ready: status_pb2.GetStatusResponse) -> Course:
        """What came of them. Raises NotReadyError where nothing is answered."""
        slots = sum(worker.slots for worker in ready.workers if worker.kind == status_pb2.WORKER_KIND_TARGET)
        await self._closed("warm-up", slots)
        alone = await self._closed("alone", 1)
        before = Resources.of(self._front, await self._status.until(_is_quiet, QUIET_S))
        course = Course(self._deadline_ms(alone), alone, before, cores=self._cores)
        most_rps = (await self._sent(course, self._closed("sweep", slots))).answered_rps
        if not most_rps:
            raise NotReadyError("the sidecar answered nothing; sidebeam check --bundle may say why")
        for share in SWEEP:
            course.sweep.append(await self._sent(course, self._open("sweep", share * most_rps, course.deadline_ms)))
        if not course.capacity:
            raise NotReadyError(f"nothing was answered within the deadline of {course.deadline_ms:g} ms")
        course.half = await self._sent(course, self._open("half", course.capacity / 2, course.deadline_ms))
        course.over = await self._sent(course, self._open("over", OVERLOAD * course.capacity, course.deadline_ms))
        while course.sent < self._plan.requests:
            await self._sent(course, self._closed("rest", slots, REST_S))
        course.after = await self._settled(course.before)
        return course

    def _deadline_ms(self, alone: Summary) -> float:
        took = alone.latency["answer"].percentile(50)
        if self._plan.deadline_ms is not None:
            return self._plan.deadline_ms
        if took is None:
            raise NotReadyError("the sidecar answered nothing; sidebeam check --bundle may say why")
        return max(LEAST_DEADLINE_MS, round(PATIENCE * took))

    async def _sent(self, course: Course, measuring: Any) -> Summary:
        summary: Summary = await measuring
        course.sent += summary.arrivals
        return summary

    async def _closed(self, name: str, at_once: int, seconds: float | None = None) -> Summary:
        return await self._step(name, None, at_once, ANSWER_MS, seconds)

    async def _open(self, name: str, rate: float, deadline_ms: float) -> Summary:
        return await self._step(name, rate, None, deadline_ms, None)

    async def _step(
        self, name: str, rate: float | None, at_once: int | None, deadline_ms: float, seconds: float | None
    ) -> Summary:
        seconds = self._plan.seconds * SHARES.get(name, 1.0) if seconds is None else seconds
        seed = f"{self._plan.seed} {name} {rate or at_once}"
        plan = StepPlan(rate, at_once, "poisson", 0.0, seconds, MOST_IN_FLIGHT, seed)
        self._progress(f"{name}: {plan.title} for {seconds:.3g} s")
        step = Step(plan, Caller(self._recommends, deadline_ms / 1e3, (), f"{name}-{time.monotonic_ns():x}"), self._mix)
        before = {process: process.cpu_s for process in family(self._front).values()}
        with LoopProbe() as probe:
            await step.run(asyncio.Event())
            self._cores[name] = {"client": probe.cpu} | {
                worker: (process.cpu_s - before[process]) / probe.elapsed_s
                for worker, process in family(self._front).items()
                if process in before
            }
        lag = Distribution.of(late * 1e3 for late in probe.late_s)
        return summarise(plan, step.recording, step.window_s, step.unfinished, lag, probe.cpu, deadline_ms)

    async def _settled(self, before: Resources) -> Resources:
        """What is held once nothing more is given back, at the latest after `QUIET_S`."""
        until = time.monotonic() + QUIET_S
        while True:
            held = Resources.of(self._front, await self._status.now())
            given_back = not held.slots and held.open_files == before.open_files
            if given_back or time.monotonic() > until:
                return held
            await asyncio.sleep(0.2)


def _is_quiet(status: status_pb2.GetStatusResponse) -> bool:
    return not slots_in_use(status) and not status.load.in_flight
