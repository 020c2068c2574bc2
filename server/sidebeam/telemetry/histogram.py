"""How often a value was how large."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate


class Histogram:
    """Counts values by bucket; `bounds` are the buckets' upper ends, ascending. One thread writes, others may read."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # the last one: above all bounds
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, int]]:
        """Each bound, as Prometheus writes it, with the number of values up to it."""
        names = [*(f"{bound:g}" for bound in self.bounds), "+Inf"]
        return list(zip(names, accumulate(self.counts), strict=True))


def geometric(first: float, factor: float, last: float) -> tuple[float, ...]:
    """Bounds from `first` to about `last`, each `factor` times the one before, rounded to three digits."""
    bounds = [first]
    while bounds[-1] < last:
        bounds.append(bounds[-1] * factor)
    return tuple(float(f"{bound:.3g}") for bound in bounds)
