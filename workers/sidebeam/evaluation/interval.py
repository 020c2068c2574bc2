"""Confidence intervals over users: the percentile bootstrap, with the same resamples for everything that is asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64] | npt.NDArray[np.int64] | npt.NDArray[np.bool_]

RESAMPLES = 1000
LEVEL = 0.95  # share of the resamples that an interval holds


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure over the users at hand, and the interval in which another draw of such users would put it."""

    value: float
    low: float
    high: float


class Bootstrap:
    """Draws as many users as there are, with repeats, many times over.

    Every figure is taken over the same draws, so a ratio of two arms keeps what they have in common: the user.
    """

    def __init__(self, users: int, seed: int, resamples: int = RESAMPLES) -> None:
        """Raises ValueError without users."""
        if users < 1:
            raise ValueError(f"a bootstrap needs at least 1 user; given {users}")
        draws = np.random.default_rng(seed).multinomial(users, np.full(users, 1 / users), resamples)
        self._times = draws.astype(np.float32)  # [resamples, users] how often each user was drawn

    def mean(self, values: Values) -> Estimate:
        """The mean of one value per user.  # [users]"""
        return _estimate(float(values.mean()), self._sums(values) / len(values))

    def ratio(self, above: Values, below: Values) -> Estimate | None:
        """The ratio of two means over users, None where `below` is 0 for all of them.  # [users] each

        Resamples that happen to draw only users without any `below` have no ratio and are left out.
        """
        if not below.any():
            return None
        sums = self._sums(below)
        defined = sums > 0
        return _estimate(float(above.sum() / below.sum()), self._sums(above)[defined] / sums[defined])

    def _sums(self, values: Values) -> npt.NDArray[np.float64]:
        """The sum over each resample.  # [resamples]"""
        return (self._times @ values.astype(np.float32)).astype(np.float64)


def _estimate(value: float, resampled: npt.NDArray[np.float64]) -> Estimate:
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))
