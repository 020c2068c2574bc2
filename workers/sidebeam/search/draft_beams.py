"""How a drafter's beams go from one level to the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.search.gumbel import keys
from sidebeam.search.request import Sampling
from sidebeam.search.scored_tree import best

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Width:
    """N draft beams for a target of K, which draws its beams if there is `sampling`."""

    beams: int
    top_k: int
    sampling: Sampling | None = None

    def best(self, nodes: Ints, log_probs: Floats, survivors: int) -> Ints:
        """Indices of the N candidates to draft, best first; the first `survivors` are children of survivors.

        The K best children of the K beams that are expected to survive come first. An N-wide beam search does without:
        its level holds the N best children of N beams, and those of beams that will not survive push out some of the
        K that the target takes (AtSpeed, section 1.3: 2.95 of 3 levels even if draft and target are one).
        """
        ranks = keys(self.sampling, nodes, log_probs)
        chain = best(ranks[:survivors], self.top_k)
        everything = best(ranks, self.beams)
        return np.concatenate([chain, everything[~np.isin(everything, chain)]])[: self.beams]
