"""The latest answers, for who asks how things are now."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass

WINDOW_S = 60.0
MOST = 1000


@dataclass(frozen=True, slots=True)
class Latencies:
    """Answers for each second, and percentiles of their latency in milliseconds; None without any answer."""

    per_s: float
    p50_ms: float | None
    p99_ms: float | None


class Recent:
    """Remembers answers of the last minute, the latest thousand at most."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._answers: deque[tuple[float, int]] = deque(maxlen=MOST)

    def add(self, total_ns: int) -> None:
        """An answer was given just now."""
        self._answers.append((time.monotonic(), total_ns))

    def latencies(self) -> Latencies:
        """What the last minute was like."""
        now = time.monotonic()
        fresh = [(at, total_ns) for at, total_ns in self._answers if now - at <= WINDOW_S]
        if not fresh:
            return Latencies(0.0, None, None)
        span = now - fresh[0][0] if len(fresh) == MOST else min(WINDOW_S, now - self._started)
        totals = sorted(total_ns for _, total_ns in fresh)
        return Latencies(len(fresh) / max(span, 1e-3), _percentile(totals, 0.5), _percentile(totals, 0.99))


def _percentile(totals: list[int], share: float) -> float:
    """The least value that `share` of all values do not exceed."""
    return totals[math.ceil(share * len(totals)) - 1] / 1e6
