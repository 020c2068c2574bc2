"""Relaxed verification: beams are drawn instead of chosen, with noise that target and drafters share.

The K candidates with the highest `log-prob / temperature + Gumbel noise` are a draw of K without replacement, with
probabilities proportional to exp(log-prob / temperature) (the Gumbel top-k trick). The noise is a function of seed and
node alone. So the target's draw is fixed before any draft is made: verification is as strict as ever, a draft cannot
bend the distribution, and nothing needs to be drawn again after a miss. A drafter that adds the same noise to its own
log-probs proposes what the target is about to draw, the surer the higher the temperature.

AtSpeed's Algorithm 2 accepts each draft by a coin of its own, min(1, p / q), and fills up from the residual. For K
draws without replacement that is not the target's distribution; done soundly, draw after draw, the residual of the
first rejection hardly overlaps with the drafts that are left.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sidebeam.search.request import Sampling

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Words = npt.NDArray[np.uint64]

STEP = np.uint64(0x9E3779B97F4A7C15)
MIX = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
LAST, MANTISSA = np.uint64(31), np.uint64(11)


def keys(sampling: Sampling | None, nodes: Ints, log_probs: Floats) -> Floats:
    """What candidates of one depth are ranked by: their cumulative log-probs, or those with noise.  # [n]

    Dead candidates, at -inf, stay there.
    """
    if sampling is None:
        return log_probs
    noisy = log_probs.astype(np.float64) / sampling.temperature + noise(sampling.seed, nodes)
    if 0 < sampling.top_k < len(log_probs):
        noisy[log_probs < np.partition(log_probs, -sampling.top_k)[-sampling.top_k]] = -np.inf
    return noisy.astype(np.float32)


def noise(seed: int, nodes: Ints) -> npt.NDArray[np.float64]:
    """Standard Gumbel noise of each node: independent over nodes and seeds, and the same whenever it is asked for."""
    words = _mixed(_mixed(np.full(1, seed, np.uint64)) + nodes.astype(np.uint64) * STEP)
    uniform = ((words >> MANTISSA).astype(np.float64) + 0.5) * 2.0**-53  # in (0, 1), both ends left out
    gumbel: npt.NDArray[np.float64] = -np.log(-np.log(uniform))
    return gumbel


def _mixed(words: Words) -> Words:
    """Every bit of the output depends on every bit of the input (the finaliser of SplitMix64)."""
    with np.errstate(over="ignore"):
        words = words + STEP
        for shift, factor in MIX:
            words = (words ^ (words >> shift)) * factor
    return words ^ (words >> LAST)
