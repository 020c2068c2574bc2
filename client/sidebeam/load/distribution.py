"""What many durations are like."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

PERCENTS = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Durations in milliseconds, ascending; there may be none."""

    ms: tuple[float, ...]

    @classmethod
    def of(cls, ms: Iterable[float]) -> Distribution:
        """Of durations in any order; those that are not numbers, because they never happened, are left out."""
        return cls(tuple(sorted(each for each in ms if not math.isnan(each))))

    def __len__(self) -> int:
        return len(self.ms)

    @property
    def mean(self) -> float | None:
        """None where there are none."""
        return math.fsum(self.ms) / len(self.ms) if self.ms else None

    @property
    def highest(self) -> float | None:
        """None where there are none."""
        return self.ms[-1] if self.ms else None

    def percentile(self, percent: float) -> float | None:
        """The smallest duration that `percent` % of them do not exceed; None where there are none."""
        if not self.ms:
            return None
        rank = math.ceil(round(percent / 100 * len(self.ms), 9))
        return self.ms[max(rank, 1) - 1]

    def within(self, limit_ms: float) -> int:
        """How many are at most `limit_ms`."""
        return sum(each <= limit_ms for each in self.ms)

    def figures(self) -> dict[str, float | int | None]:
        """By the names of reports and rules."""
        named = {f"p{percent:g}_ms".replace(".", "_"): self.percentile(percent) for percent in PERCENTS}
        return {"count": len(self.ms), "mean_ms": self.mean, **named, "max_ms": self.highest}
