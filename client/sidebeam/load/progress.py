"""What a person sees while a step runs: a bar on a terminal, a line now and then elsewhere.

Drawing takes time that requests would have needed, so it is done seldom, in few letters.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from sidebeam.load.distribution import Distribution
from sidebeam.load.step import Step

TERMINAL_S = 0.5
LINE_S = 5.0
LATEST = 500  # answers that the shown percentiles are over


class Progress:
    """Shows steps on `console`; `count` is how many there will be."""

    def __init__(self, console: Console, count: int) -> None:
        self._console = console
        self._count = count
        self._number = 0

    @contextlib.contextmanager
    def of(self, step: Step) -> Iterator[None]:
        """Show `step` within the block."""
        self._number += 1
        task = asyncio.ensure_future(self._bars(step) if self._console.is_terminal else self._lines(step))
        try:
            yield
        finally:
            task.cancel()

    async def _bars(self, step: Step) -> None:
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                live.update(self._bar(step), refresh=True)
                await asyncio.sleep(TERMINAL_S)

    async def _lines(self, step: Step) -> None:
        while True:
            await asyncio.sleep(LINE_S)
            self._console.print(
                f"{self._title(step)}, {_clock(step)}: {figures(step)}", highlight=False, soft_wrap=True
            )

    def _bar(self, step: Step) -> Table:
        total_s = step.plan.warm_up_s + step.plan.duration_s
        row = Table.grid(padding=(0, 1))
        bar = ProgressBar(total_s, min(max(time.perf_counter() - step.began, 0.0), total_s), width=24)
        row.add_row(self._title(step), bar, _clock(step))
        shown = Table.grid()
        shown.add_row(row)
        shown.add_row(figures(step))
        return shown

    def _title(self, step: Step) -> str:
        return step.plan.title if self._count == 1 else f"{self._number}/{self._count} {step.plan.title}"


def figures(step: Step) -> str:
    """The latest answers and all failures so far, in one line."""
    recording = step.recording
    latest = range(max(len(recording) - LATEST, 0), len(recording))
    took = Distribution.of(
        (recording.ended[row] - recording.intended[row]) * 1e3 for row in latest if recording.answered[row]
    )
    p50, p99 = took.percentile(50), took.percentile(99)
    speed = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms" if p50 is not None and p99 is not None else "no answers yet"
    answered = len(recording) - recording.errors.total()
    return (
        f"{answered} answered, {recording.errors.total()} failed, {len(recording.missed)} missed, "
        f"{step.in_flight} under way; latest {speed}"
    )


def _clock(step: Step) -> str:
    passed_s, plan = max(time.perf_counter() - step.began, 0.0), step.plan
    if passed_s < plan.warm_up_s:
        return f"warm-up {passed_s:.0f} of {plan.warm_up_s:g} s"
    passed_s -= plan.warm_up_s
    return f"{passed_s:.0f} of {plan.duration_s:g} s" if passed_s < plan.duration_s else "waiting for the last answers"
