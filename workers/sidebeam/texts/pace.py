"""How long a pass takes for how many rows of how many texts: measured at warm-up, kept current by every pass since."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from sidebeam.search.pass_curve import KNOTS, LEARNING_RATE, STEP, PassCurve

Floats64 = npt.NDArray[np.float64]

REPEATS = 3
LOCAL = 0.3  # of what a pass teaches is about its number of rows; the rest is about the machine


class Pace:
    """A curve over rows, some time for every text beyond the first, and how fast the machine is at present.

    When the machine changes its pace, it does so for all numbers of rows: those that are never tried follow those
    that are. Times are nanoseconds.
    """

    def __init__(self, curve: PassCurve | None = None, text_ns: float = 0.0) -> None:
        self._curve = curve or PassCurve([1, KNOTS[-1]], [1e6, 1e8])
        self._text_ns = text_ns
        self._speed = 1.0

    @classmethod
    def measure(cls, run: Callable[[int, int], Any], clock: Callable[[], int], most_texts: int, most_rows: int) -> Pace:
        """Time `run(texts, rows)` for one text of 1 to `most_rows` rows, and for `most_texts` of a row each."""
        rows = [knot for knot in KNOTS if knot <= most_rows]
        curve = PassCurve(rows, [_best(lambda knot=knot: run(1, knot), clock) for knot in rows])  # type: ignore[misc]
        if most_texts == 1:
            return cls(curve)
        apart = _best(lambda: run(most_texts, most_texts), clock)
        return cls(curve, max(0.0, apart - float(curve(most_texts))) / (most_texts - 1))

    def __call__(self, texts: int, rows: npt.ArrayLike) -> Floats64:
        """Expected time of a pass with that many rows in all; 0 rows are no pass."""
        rows = np.asarray(rows, np.float64)
        return np.where(rows > 0, self._speed * (self._curve(rows) + self._text_ns * (texts - 1)), 0.0)

    def observe(self, texts: int, rows: int, ns: int) -> None:
        """Learn from one measured pass."""
        known = float(self._curve(rows))
        ratio = min(max(ns / (self._speed * (known + self._text_ns * (texts - 1))), 1 / STEP), STEP)
        self._speed *= ratio ** (LEARNING_RATE * (1 - LOCAL))
        self._curve.observe(rows, int(known * ratio**LOCAL))

    def points(self, texts: int = 1) -> list[tuple[int, int]]:
        """(rows, nanoseconds) for so many texts."""
        return [(rows, int(self(texts, rows))) for rows in KNOTS if rows >= texts]


def _best(run: Callable[[], Any], clock: Callable[[], int]) -> float:
    """The shortest of some runs, after one untimed."""
    run()
    taken = []
    for _ in range(REPEATS):
        start = clock()
        run()
        taken.append(clock() - start)
    return float(min(taken))
