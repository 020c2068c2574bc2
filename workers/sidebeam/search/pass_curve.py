"""How long a pass takes for how many rows: measured at warm-up, kept current by every pass since."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats64 = npt.NDArray[np.float64]

KNOTS = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048)
_KNOTS = np.array(KNOTS, np.float64)
_OCTAVES = np.log2(_KNOTS)
LEARNING_RATE = 0.1  # of one pass on the curve: a change of pace shows within some dozen passes
ALIKE = 0.75  # how far one octave of rows off a pass tells of others: what slowed it mostly slows them
STEP = 1.25  # the most that one pass can ask for: the curve follows the usual pass, not the one that was held up


class PassCurve:
    """Piecewise linear over `KNOTS`, never falling; times in nanoseconds."""

    def __init__(self, rows: npt.ArrayLike, ns: npt.ArrayLike) -> None:
        known_rows, known_ns = np.asarray(rows, np.float64), np.asarray(ns, np.float64)
        times = np.interp(KNOTS, known_rows, _never_falling(known_ns))
        beyond = np.asarray(KNOTS, np.float64) / known_rows[-1]
        self._ns: Floats64 = np.maximum.accumulate(times * np.maximum(beyond, 1.0))

    @classmethod
    def measure(cls, run: Callable[[int], Any], clock: Callable[[], int], max_rows: int, repeats: int = 5) -> PassCurve:
        """Time `run(rows)` over the knots up to `max_rows`; the best of `repeats`, after one untimed run."""
        rows = [knot for knot in KNOTS if knot <= max_rows]
        times = []
        for knot in rows:
            run(knot)
            taken = []
            for _ in range(repeats):
                start = clock()
                run(knot)
                taken.append(clock() - start)
            times.append(float(min(taken)))
        return cls(rows, times)

    def __call__(self, rows: npt.ArrayLike) -> Floats64:
        """Expected time of a pass with that many rows, nanoseconds; 0 rows are no pass."""
        rows = np.asarray(rows, np.float64)
        return np.where(rows > 0, np.interp(rows, _KNOTS, self._ns), 0.0)

    def observe(self, rows: int, ns: int) -> None:
        """Move the curve towards one measured pass."""
        if rows < 1 or rows > KNOTS[-1]:
            return
        ratio = min(max(ns / float(np.interp(rows, _KNOTS, self._ns)), 1 / STEP), STEP)
        told = ALIKE ** np.abs(_OCTAVES - np.log2(rows))
        self._ns = _never_falling(self._ns * (1 + LEARNING_RATE * (ratio - 1) * told))

    def points(self) -> list[tuple[int, int]]:
        """The curve as (rows, nanoseconds)."""
        return [(rows, int(ns)) for rows, ns in zip(KNOTS, self._ns, strict=True)]


def _never_falling(ns: Floats64) -> Floats64:
    """A pass takes no longer than a pass of more rows did: what says otherwise was held up by the machine."""
    lowered: Floats64 = np.minimum.accumulate(ns[::-1])[::-1]
    return lowered
