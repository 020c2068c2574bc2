"""`sidebeam bench faults`: what callers get while a sidecar is hurt, again and again, under an open loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from sidebeam.client import AsyncClient
from sidebeam.command.sidecar import START_S
from sidebeam.load.client_check import ClientCheck, LoopProbe
from sidebeam.load.distribution import Distribution
from sidebeam.resilience.expected import Expected
from sidebeam.resilience.fault import Fault
from sidebeam.resilience.fault_report import as_json
from sidebeam.resilience.log_pipe import LogPipe
from sidebeam.resilience.open_load import RIGHT, OpenLoad, Outcome
from sidebeam.resilience.scene import Scene
from sidebeam.resilience.small_folder import NoSmallFolderError, SmallFolder
from sidebeam.resilience.status_watch import NotReadyError, StatusWatch, is_ready, restarts

WARM_UP = 32
ALONE_S = 60.0  # for an answer when nothing is wrong
RECOVER_S = 300.0
CALM_S = (0.5, 2.5)  # between a recovery and the next fault
AFTER_S = 1.0  # of load after the last recovery
TURNED_OUT = frozenset({"UNAVAILABLE", "CANCELLED"})
ARRIVED_S = 0.1  # by then a request that was sent is inside


@dataclass(frozen=True, slots=True)
class Plan:
    """How the faults are made. `retries` are the client library's; `options` go to `sidebeam serve`."""

    times: int
    rate: float
    top_k: int
    deadline_s: float
    retries: int
    seed: int
    options: Sequence[str] = ()


@dataclass(slots=True)
class Trial:
    """One kind of fault, done. `windows` are from fault to recovery; all times `time.perf_counter`'s, in seconds."""

    fault: Fault
    outcomes: list[Outcome] = field(default_factory=list)
    windows: list[tuple[float, float]] = field(default_factory=list)
    recoveries_s: list[float] = field(default_factory=list)
    unrecovered: str = ""  # why it was given up
    left_out: str = ""  # why it was not done
    left_behind: int = 0
    bad_ends: int = 0
    client: ClientCheck | None = None

    @property
    def cut_off(self) -> int:
        """Requests that were inside when the front was told to end, and were turned out."""
        if not self.fault.ends_front:
            return 0
        return sum(
            each.sent < told - ARRIVED_S < told < each.ended and each.word in TURNED_OUT
            for each in self.outcomes
            for told, _ in self.windows
        )


class FaultBench:
    """Does each fault in a sidecar of its own. `progress` is told what a person wants to see."""

    def __init__(
        self, bundle: Path, histories: Sequence[Sequence[str]], plan: Plan, progress: Callable[[str], None]
    ) -> None:
        self._bundle = bundle
        self._histories = histories
        self._plan = plan
        self._progress = progress
        self._expected: Expected | None = None

    def run(self, faults: Sequence[Fault]) -> dict[str, Any]:
        """All of them, one after the other. Raises SidecarError, SidebeamError, NotReadyError, LookupError."""
        trials = [self._try(fault) for fault in faults]
        return as_json(trials, self._plan)

    def _try(self, fault: Fault) -> Trial:
        trial = Trial(fault)
        self._progress(f"{fault.name}: a sidecar starts")
        options = ["--replicas", str(fault.replicas), "--log-level", "info" if fault.needs_log_pipe else "warning"]
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(SmallFolder()) if fault.needs_small_folder else None
            except NoSmallFolderError as error:
                trial.left_out = str(error)
                return trial
            log = stack.enter_context(LogPipe()) if fault.needs_log_pipe else None
            with Scene(self._bundle, [*self._plan.options, *options], log, folder) as scene:
                asyncio.run(self._hurt(scene, trial))
            trial.left_behind, trial.bad_ends = scene.left_behind, scene.bad_ends
        return trial

    async def _hurt(self, scene: Scene, trial: Trial) -> None:
        plan, random = self._plan, Random(f"{self._plan.seed} {trial.fault.name}")
        async with AsyncExitStack() as stack:
            address = scene.sidecar.address
            # One who asks again cannot tell a request that was inside from one that was turned away before.
            retries = 0 if trial.fault.ends_front else plan.retries
            client = await stack.enter_async_context(AsyncClient(address, retries=retries))
            status = StatusWatch(address)
            stack.push_async_callback(status.aclose)
            await status.until(is_ready, START_S)
            expected = await self._answers(client)
            load = OpenLoad(client, expected, plan.rate, plan.deadline_s, random)
            trial.outcomes = load.outcomes
            probe = stack.enter_context(LoopProbe())
            async with load.running():
                try:
                    for _ in range(plan.times):
                        self._tell(trial)
                        await asyncio.sleep(random.uniform(*CALM_S))
                        await self._strike(scene, status, trial)
                except NotReadyError as error:
                    trial.unrecovered = str(error)
                await asyncio.sleep(AFTER_S)
            trial.client = _check(probe, trial)

    async def _strike(self, scene: Scene, status: StatusWatch, trial: Trial) -> None:
        fault = trial.fault
        before = restarts(await status.now(), fault.worker)
        struck = time.perf_counter()
        trial.windows.append((struck, struck + RECOVER_S))
        recovers = await fault.strike(scene, status)
        await status.until(
            lambda now: is_ready(now) and (not fault.worker or restarts(now, fault.worker) > before), RECOVER_S
        )
        ready = time.perf_counter()
        trial.windows[-1] = (struck, ready)
        trial.recoveries_s.append(ready - recovers)

    async def _answers(self, client: AsyncClient) -> Expected:
        """The right answers, asked for once; and some answers more, for this sidecar to be warm."""
        if self._expected is None:
            self._expected = await Expected.of(client, self._histories, self._plan.top_k, ALONE_S)
        histories = self._histories
        for number in range(WARM_UP):
            history = histories[number % len(histories)]
            await client.recommend(history=history, top_k=self._plan.top_k, timeout_s=ALONE_S)
        return self._expected

    def _tell(self, trial: Trial) -> None:
        words = [each.word for each in trial.outcomes]
        right = words.count(RIGHT)
        self._progress(
            f"{trial.fault.name}: {len(trial.recoveries_s)} of {self._plan.times} done; {len(words)} requests ended, "
            f"{right} right, {len(words) - right} not"
        )


def _check(probe: LoopProbe, trial: Trial) -> ClientCheck:
    sent = Distribution.of((each.sent - each.intended) * 1e3 for each in trial.outcomes)
    took = Distribution.of((each.ended - each.intended) * 1e3 for each in trial.outcomes if each.word == RIGHT)
    return ClientCheck.of(Distribution.of(late * 1e3 for late in probe.late_s), sent, probe.cpu, took)
