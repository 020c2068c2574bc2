"""How many requests may be worked on at once: as many as still come in time."""

from __future__ import annotations

BACK_OFF = 0.9
SPARE = 2  # a limit that is not half used is no reason for a higher one


class AdaptiveLimit:
    """Additive increase, multiplicative decrease, between 1 and `most`; starts at `most`.

    The target batches what it is given, so more at once means more in all, and each of them later. Where callers have
    deadlines that is good up to a point, which moves with the model, the machine and the requests.
    """

    def __init__(self, most: int) -> None:
        """Raises ValueError if `most` is not positive."""
        if most < 1:
            raise ValueError(f"the limit must be at least 1; given {most}")
        self._most = most
        self._limit = float(most)
        self._lowered_at = float("-inf")

    def bound(self, most: int) -> None:
        """From now on `most` bounds it; a limit that was never lowered goes along. Raises ValueError like opening."""
        if most < 1:
            raise ValueError(f"the limit must be at least 1; given {most}")
        self._limit = float(most) if self._limit >= self._most else min(self._limit, float(most))
        self._most = most

    @property
    def now(self) -> int:
        """The limit."""
        return int(self._limit)

    def in_time(self, inside: int) -> None:
        """One of `inside` requests was answered before its deadline."""
        if inside * SPARE >= self._limit:
            self._limit = min(self._most, self._limit + 1 / self._limit)

    def too_late(self, inside: int, started_at: float, now: float) -> None:
        """One of `inside`, let in at `started_at`, was not. Times in seconds of one clock.

        Those that were let in before the limit was last lowered say nothing about how it is now.
        """
        if started_at >= self._lowered_at:
            self._limit = max(1.0, min(self._limit, inside) * BACK_OFF)
            self._lowered_at = now
