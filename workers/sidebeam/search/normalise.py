"""Catalog scoring: log-probs renormalised over the live children of each node."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def over_children(logits: Floats, counts: Ints, alive: npt.NDArray[np.bool_]) -> Floats:
    """Log-softmax within each run of `counts` children, dead ones left out as -inf.

    Exactly 0 for an only live child. A node without live children yields -inf throughout.
    """
    if not len(logits):
        return logits
    starts = np.cumsum(counts) - counts
    live = np.where(alive, logits, -np.inf).astype(np.float32)
    highest = np.maximum.reduceat(live, starts)
    highest = np.where(np.isfinite(highest), highest, np.float32(0))
    shifted = live - np.repeat(highest, counts)
    with np.errstate(divide="ignore"):
        total = np.log(np.add.reduceat(np.exp(shifted), starts))
    total = np.where(np.isfinite(total), total, np.float32(0))
    result: Floats = (shifted - np.repeat(total, counts)).astype(np.float32)
    return result
