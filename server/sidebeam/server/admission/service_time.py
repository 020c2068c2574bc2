"""The least time that an answer takes: what comes with less has no use for a place in the queue."""

from __future__ import annotations

GROWTH = 1.02  # with each answer, so that a change for the worse is noticed after some hundred of them
SAFETY = 0.5  # of the least time seen: the next request may be an easier one


class ServiceTime:
    """Follows the fastest answers; zero until there is one."""

    def __init__(self) -> None:
        self.least_s = 0.0

    def observe(self, took_s: float) -> None:
        """Take one answer's time inside the target worker into account, waiting left out."""
        self.least_s = min(took_s, self.least_s * GROWTH) if self.least_s else took_s

    def is_out_of_reach(self, remaining_s: float) -> bool:
        """Whether nothing like an answer can come so soon."""
        return remaining_s < SAFETY * self.least_s
