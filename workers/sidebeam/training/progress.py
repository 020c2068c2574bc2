"""What a person sees of a training run: a bar with loss and rate on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

SMOOTHING = 0.9  # of the shown loss
SILENCE_S = 20.0  # between two lines where there is no terminal


class ProgressBar:
    """A context manager around one or several runs, one bar each."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = TaskID(0)
        self._label = ""
        self._loss: float | None = None
        self._tokens = 0
        self._made = 0
        self._told_at = time.monotonic()
        self.rate = ""

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begin(self, label: str, steps: int, done: int = 0) -> None:
        """Opens a bar for a run of `steps` steps, `done` of which an earlier process made."""
        self._label, self._loss, self._tokens, self._made = label, None, 0, 0
        self._task = self._bars.add_task(label, total=steps, completed=done, loss="", rate="")

    def step(self, loss: float, tokens: int) -> None:
        """One step was made, over so many labelled tokens."""
        self._loss = loss if self._loss is None else SMOOTHING * self._loss + (1 - SMOOTHING) * loss
        self._tokens += tokens
        elapsed = self._bars.tasks[self._task].elapsed or 0.0
        self.rate = _told(self._tokens / elapsed, "tokens/s") if elapsed else ""
        self._bars.update(self._task, advance=1, loss=f"loss {self._loss:.3f}", rate=self.rate)
        self._break_silence(f", loss {self._loss:.3f}")

    def advance(self, steps: int, unit: str) -> None:
        """So many steps were made of a run that has no loss."""
        self._made += steps
        elapsed = self._bars.tasks[self._task].elapsed or 0.0
        self.rate = _told(self._made / elapsed, unit) if elapsed else ""
        self._bars.update(self._task, advance=steps, rate=self.rate)
        self._break_silence()

    def epoch(self, number: int, train_loss: float, valid_loss: float | None) -> None:
        """An epoch ended; numbers count from 1, losses are nats per token."""
        valid = "" if valid_loss is None else f", validation {valid_loss:.4f}"
        self.note(f"{self._label}: epoch {number}, loss {train_loss:.4f}{valid}, {self.rate}")

    def note(self, text: str) -> None:
        """Prints a line above the bars."""
        self._told_at = time.monotonic()
        self._bars.console.print(text, highlight=False)

    def _break_silence(self, more: str = "") -> None:
        if self._console.is_terminal or time.monotonic() - self._told_at < SILENCE_S:
            return
        task = self._bars.tasks[self._task]
        self.note(f"{self._label}: {task.completed:,.0f} of {task.total or 0:,.0f}{more}, {self.rate}")


def _told(rate: float, unit: str) -> str:
    """Slow ones with decimals: what takes seconds each is not at a standstill."""
    return f"{rate:,.0f} {unit}" if rate >= 10 else f"{rate:.2g} {unit}"
