"""How far a count ratio is to be believed: by tier, length of the match, and evidence, as measured while serving."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.draft import ABOVE, TextDraft

Doubles = npt.NDArray[np.float64]

Tier = Literal["request", "entity", "group", "global"]
TIERS: tuple[Tier, ...] = ("request", "entity", "group", "global")
REQUEST, ENTITY, GROUP, GLOBAL = range(len(TIERS))

# A cell is (tier, tokens matched, place among the matches of one index, occurrences of the match), coarsened.
LENGTHS, RANKS, EVIDENCES = 16, 3, 3
CELLS = len(TIERS) * LENGTHS * RANKS * EVIDENCES

TIER_PRIOR = (0.75, 1.0, 0.95, 0.9)  # before anything is measured
LENGTH_PRIOR = (0.4, 0.65, 0.8, 0.85, 0.88, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.95, 0.96, 0.96, 0.97, 0.97)
RANK_PRIOR = (1.0, 0.5, 0.25)  # the longest match of an index, the next, others: a longer one knows better
EVIDENCE_PRIOR = (0.8, 0.9, 1.0)  # the match occurs once, 2 or 3 times, more often
STAY_PRIOR = tuple(0.8 + 0.2 * each for each in LENGTH_PRIOR)  # per token beyond the first: texts part sooner or later
PRIOR_WEIGHT = 20.0  # of the above, in drafted nodes


@dataclass(frozen=True, slots=True)
class PoolDraft(TextDraft):
    """A draft that can be learned from: which cell each node's estimate comes from, and the counts' share alone."""

    cells: npt.NDArray[np.int32]  # [n]
    shares: npt.NDArray[np.float32]  # [n] count over the parent's count

    @classmethod
    def empty(cls) -> PoolDraft:
        """No drafted nodes."""
        ints, floats = np.empty(0, np.int32), np.empty(0, np.float32)
        return cls(ints, ints, floats, np.empty(0, np.uint8), ints, floats)


def prior_weights() -> Doubles:
    """What is believed before anything is measured: of first tokens, of each later one.  # [2, CELLS]

    An estimate is first[cell] x stay[cell] ** (depth - 1) x the count ratio.
    """
    first = np.einsum("t,l,r,e->tlre", TIER_PRIOR, LENGTH_PRIOR, RANK_PRIOR, EVIDENCE_PRIOR)
    stay = np.einsum("t,l,r,e->tlre", np.ones(len(TIERS)), STAY_PRIOR, np.ones(RANKS), np.ones(EVIDENCES))
    return np.stack([first.ravel(), stay.ravel()])


@dataclass(slots=True)
class Calibration:
    """One per engine, safe to share. A session keeps the weights that it found when it was opened."""

    prior_weight: float = PRIOR_WEIGHT
    _weights: Doubles = field(default_factory=prior_weights)
    _sums: Doubles = field(init=False)  # [2, 2, CELLS] first or deeper tokens; accepted, predicted by shares alone
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._sums = self.prior_weight * np.stack([self._weights, np.ones((2, CELLS))], axis=1)

    @property
    def weights(self) -> Doubles:
        """As of now, none over 1; the array is never changed.  # [2, CELLS]"""
        with self._lock:
            return self._weights

    def observe(self, draft: PoolDraft, accepted: npt.ArrayLike) -> None:
        """Learns from a draft that was verified. `accepted` are the indices of its accepted nodes.

        A node counts if its parent was accepted: of the others nothing is known. The same drafts in the same order
        give the same weights.
        """
        if not len(draft):
            return
        kept = np.zeros(len(draft) + 1, bool)
        kept[np.asarray(accepted, np.int64)] = True
        kept[ABOVE] = True  # the last place: the text itself
        judged = kept[draft.parents]
        kind = (draft.parents[judged] != ABOVE).astype(np.int64)
        cells = draft.cells[judged].astype(np.int64)
        first, second = np.zeros_like(cells), np.ones_like(cells)
        with self._lock:
            np.add.at(self._sums, (kind, first, cells), kept[:-1][judged])
            np.add.at(self._sums, (kind, second, cells), draft.shares[judged].astype(np.float64))
            self._weights = np.minimum(self._sums[:, 0] / self._sums[:, 1], 1.0)
