"""How good predicted clicks are, and by how much one arm is better than another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]

# Student's t: 97.5 % quantiles for 1 to 30 degrees of freedom.
T_QUANTILES = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
NORMAL = 1.960


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over seeds and its 95 % interval; without limits for a single seed."""

    value: float
    low: float
    high: float


def auc(labels: Labels, scores: Floats) -> float:
    """How likely a click scores above a non-click, a tie counting as half. Raises ValueError without one of each."""
    clicks, others = int(labels.sum()), int((~labels).sum())
    if not clicks or not others:
        raise ValueError(f"an AUC needs clicks and non-clicks; there are {clicks} and {others}")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # mean rank of each distinct score, from 1
    above = ranks[place][labels].sum() - clicks * (clicks + 1) / 2
    return float(above / (clicks * others))


def log_loss(labels: Labels, logits: Floats) -> float:
    """Mean negative log-likelihood of the labels, nats."""
    signed = np.where(labels, -logits, logits)
    return float(np.logaddexp(0, signed).mean())


def mean_over_seeds(values: Sequence[float]) -> Mean:
    """The mean of one value per seed, with Student's interval.

    Of paired differences it says how sure a difference is. Seeds share the users, so it covers training, splits and
    negatives, not another draw of users.
    """
    numbers = np.array(values, dtype=np.float64)
    mean = float(numbers.mean())
    if len(numbers) < 2:
        return Mean(mean, -math.inf, math.inf)
    degrees = len(numbers) - 1
    quantile = T_QUANTILES[degrees - 1] if degrees <= len(T_QUANTILES) else NORMAL
    half = quantile * float(numbers.std(ddof=1)) / math.sqrt(len(numbers))
    return Mean(mean, mean - half, mean + half)
