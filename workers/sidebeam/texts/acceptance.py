"""What a drafter's probabilities are worth: learned from every node that was verified."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Floats64 = npt.NDArray[np.float64]
Tiers = npt.NDArray[np.uint8]

BUCKETS = 8  # of probabilities, each half the one before
TIERS = 256
DOUBT = 4.0  # expected acceptances for which the drafter is believed
MEMORY = 0.995  # kept of a pass's counts by the next: what disappointed is tried again after some hundred passes


class Acceptance:
    """Accepted over expected nodes, by tier and magnitude of the drafter's estimate."""

    def __init__(self) -> None:
        self._expected = np.zeros((TIERS, BUCKETS))
        self._accepted = np.zeros((TIERS, BUCKETS))

    def estimate(self, probs: Floats, tiers: Tiers) -> Floats64:
        """P(accepted) of nodes that the drafter gives `probs` [n]; 0 to 1.  # [n]"""
        buckets = _buckets(probs)
        expected, accepted = self._expected[tiers, buckets], self._accepted[tiers, buckets]
        calibrated: Floats64 = np.minimum(probs * (accepted + DOUBT) / (expected + DOUBT), 1.0)
        return calibrated

    def observe(self, probs: Floats, tiers: Tiers, accepted: Bools) -> None:
        """Take in verified nodes: the drafter's estimates [n], their tiers [n], and which are in the text [n]."""
        self._expected *= MEMORY
        self._accepted *= MEMORY
        buckets = _buckets(probs)
        np.add.at(self._expected, (tiers, buckets), probs)
        np.add.at(self._accepted, (tiers, buckets), accepted)


def _buckets(probs: Floats) -> npt.NDArray[np.int32]:
    _, exponents = np.frexp(probs)  # 1/2 to 1: 0; 1/4 to 1/2: -1; and so on
    return np.minimum(np.maximum(-exponents, 0), BUCKETS - 1)
