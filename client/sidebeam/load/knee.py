"""Up to which rate of a sweep the server keeps up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sidebeam.load.summary import Summary

LEAST_GOOD = 0.99  # of the arrivals
MOST_SLOWER = 3.0  # times the p95 of the lowest rate, where no SLO says what is too slow


@dataclass(frozen=True, slots=True)
class Level:
    """One rate of a sweep. `good_share` counts answers within the SLO, all answers where there is none."""

    rate: float
    good_share: float | None
    p95_ms: float | None
    has_slo: bool
    trusted: bool = True

    @classmethod
    def of(cls, summary: Summary) -> Level:
        """The level that a step of a sweep reached."""
        p95_ms = summary.latency["answer"].percentile(95)
        trusted, has_slo = summary.client.trusted, summary.slo_ms is not None
        return cls(summary.plan.rate or 0.0, summary.good_share, p95_ms, has_slo, trusted)


@dataclass(frozen=True, slots=True)
class Knee:
    """The highest rate that held with all rates below it, None if none did; and what became of the next one.

    `first_broken` is the rate that did not hold, None if all did; `trusted` says whether the client itself kept up at
    all rates up to there.
    """

    rate: float | None
    first_broken: float | None
    reason: str
    trusted: bool

    def __str__(self) -> str:
        doubt = "" if self.trusted else "; but the client itself was too slow to say so for sure"
        if self.first_broken is None:
            return f"No knee: the server kept up at every rate, {self.rate:g}/s the highest{doubt}."
        if self.rate is None:
            return f"The knee lies below {self.first_broken:g}/s, the lowest rate: {self.reason}{doubt}."
        return f"The knee lies at {self.rate:g}/s: at {self.first_broken:g}/s {self.reason}{doubt}."


def find_knee(levels: Sequence[Level]) -> Knee:
    """Find the knee among levels of ascending rates, at least one.

    A rate holds where at least 99 % of its arrivals are answered within the SLO; without an SLO, where at least 99 %
    are answered and p95 is at most three times that of the lowest rate.
    """
    held: float | None = None
    for i, level in enumerate(levels):
        trusted = all(each.trusted for each in levels[: i + 1])
        if reason := _broken(level, levels[0]):
            return Knee(held, level.rate, reason, trusted)
        held = level.rate
    return Knee(held, None, "", trusted)


def _broken(level: Level, lowest: Level) -> str:
    """Why the level does not hold; "" if it does."""
    within = " within the SLO" if level.has_slo else ""
    if level.good_share is None:
        return "nothing arrived"
    if level.good_share < LEAST_GOOD:
        return f"{level.good_share:.1%} of the arrivals were answered{within}; {LEAST_GOOD:.0%} must be"
    if level.has_slo or level.p95_ms is None or lowest.p95_ms is None:
        return ""
    if level.p95_ms > MOST_SLOWER * lowest.p95_ms:
        times = level.p95_ms / lowest.p95_ms
        return f"p95 was {level.p95_ms:.1f} ms, {times:.1f} times that of the lowest rate; {MOST_SLOWER:g} may be"
    return ""
