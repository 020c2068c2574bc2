"""How it went when files were read again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["taken", "partly_taken", "refused"]
OUTCOMES: tuple[Outcome, ...] = ("taken", "partly_taken", "refused")

Told = Callable[[Outcome], None]


@dataclass(frozen=True, slots=True)
class Last:
    """How it went last, and when, by time.monotonic."""

    outcome: Outcome
    at: float


class Reloads:
    """Counts for metrics and status, which may look from any thread."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[Outcome, int]] = {}
        self.last: dict[str, Last] = {}

    def of(self, what: str) -> Told:
        """To be told of each reading of `what`, whose counts are there from now on, as 0."""
        counts = self.counts.setdefault(what, dict.fromkeys(OUTCOMES, 0))

        def told(outcome: Outcome) -> None:
            counts[outcome] += 1
            self.last[what] = Last(outcome, time.monotonic())

        return told
