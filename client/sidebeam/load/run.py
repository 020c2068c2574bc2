"""A run: one step after the other, with a probe that watches the client itself."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import platform
import secrets
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from sidebeam.load.caller import Caller
from sidebeam.load.channels import Channels
from sidebeam.load.client_check import LoopProbe
from sidebeam.load.distribution import Distribution
from sidebeam.load.mix import Mix
from sidebeam.load.options import Options
from sidebeam.load.progress import Progress
from sidebeam.load.report import Report
from sidebeam.load.step import Step, StepPlan
from sidebeam.load.summary import Summary, summarise


async def run(options: Options, mix: Mix, progress: Progress) -> Report | None:
    """Measure all steps. SIGINT and SIGTERM end it with what was measured so far; None if that is nothing.

    Raises Unanswered if no sidecar answers at all, LoadError if it finds a request of the mix invalid.
    """
    stop, run_id, made = asyncio.Event(), secrets.token_hex(3), datetime.now(UTC)
    done: list[tuple[float, Summary]] = []
    async with Channels(options) as channels:
        await channels.try_out(mix)
        caller = Caller(channels.recommends, options.timeout_ms / 1e3, options.metadata, run_id)
        gc.freeze()  # what was loaded need not be looked through again while requests are timed
        with _stopped_by_signals(stop):
            for plan in options.steps:
                if stop.is_set():
                    break
                began_s = time.time() + plan.warm_up_s
                summary = await _measure(plan, caller, mix, options.slo_ms, stop, progress)
                if summary.arrivals:
                    done.append((began_s, summary))
    if not done:
        return None
    return Report.of(options.settings, _scene(run_id, made), done, options.rules, stop.is_set())


async def _measure(
    plan: StepPlan, caller: Caller, mix: Mix, slo_ms: float | None, stop: asyncio.Event, progress: Progress
) -> Summary:
    step = Step(plan, caller, mix)
    with LoopProbe() as probe, progress.of(step):
        restart = asyncio.get_running_loop().call_later(step.recording.start - time.perf_counter(), probe.restart)
        await step.run(stop)
        restart.cancel()
    lag = Distribution.of(late_s * 1e3 for late_s in probe.late_s)
    return summarise(plan, step.recording, step.window_s, step.unfinished, lag, probe.cpu, slo_ms)


@contextlib.contextmanager
def _stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    """The first signal asks for an end; a second one is the default's, so that nobody needs patience."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def ask() -> None:
        stop.set()
        for each in signals:
            loop.remove_signal_handler(each)

    for each in signals:
        loop.add_signal_handler(each, ask)
    try:
        yield
    finally:
        for each in signals:
            loop.remove_signal_handler(each)


def _scene(run_id: str, made: datetime) -> dict[str, Any]:
    return {
        "made": made.isoformat(timespec="seconds"),
        "run": run_id,
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in ("sidebeam", "grpcio", "protobuf", "hdrhistogram")},
        },
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
