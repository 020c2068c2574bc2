"""The two contracts: which nodes must be scored next, and when the answer is known. They see scores, never models."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from sidebeam.catalog import ROOT
from sidebeam.search.gumbel import keys
from sidebeam.search.request import AcceptedBeams, Sampling
from sidebeam.search.scored_tree import NONE, ScoredTree, best

Ints = npt.NDArray[np.int64]


class SelectionRule(Protocol):
    """Reads target log-probs only, so that the answer cannot depend on what was drafted."""

    @property
    def answer(self) -> AcceptedBeams | None:
        """The K best leaf nodes, once they are known."""

    def advance(self, tree: ScoredTree) -> list[AcceptedBeams]:
        """Take in what has been scored; returns the depths accepted on the way."""

    def must(self, tree: ScoredTree) -> Ints:
        """Nodes whose log-probs the answer needs next, best first."""

    def wanted(self, tree: ScoredTree) -> Ints:
        """Nodes the answer has needed so far, to tell accepted drafts from wasted ones."""


class BeamRule:
    """Exactly what beam search of width K returns: select K of the children of K beams, depth by depth.

    With `sampling`, K of them are drawn; they stand best first all the same.
    """

    def __init__(self, k: int, length: int, sampling: Sampling | None = None) -> None:
        self._k = k
        self._length = length
        self._sampling = sampling
        self._beams = AcceptedBeams(0, np.array([ROOT]), np.zeros(1, np.float32))
        self._kept = [self._beams.nodes]

    @property
    def answer(self) -> AcceptedBeams | None:
        return self._beams if self._beams.depth == self._length else None

    def advance(self, tree: ScoredTree) -> list[AcceptedBeams]:
        accepted = []
        while self.answer is None and not len(self.must(tree)):
            entries = tree.entries(self._beams.nodes)
            chosen = entries[best(keys(self._sampling, tree.node[entries], tree.score[entries]), self._k)]
            if self._sampling is not None:
                chosen = chosen[np.argsort(-tree.score[chosen], kind="stable")]
            self._beams = AcceptedBeams(self._beams.depth + 1, tree.node[chosen], tree.score[chosen])
            self._kept.append(self._beams.nodes)
            accepted.append(self._beams)
        return accepted

    def must(self, tree: ScoredTree) -> Ints:
        return NONE if self.answer is not None else tree.unscored(self._beams.nodes)

    def wanted(self, tree: ScoredTree) -> Ints:
        return np.concatenate(self._kept)


class ExactRule:
    """The K best leaves of the whole catalog, proved.

    Log-probs are never positive, so a prefix bounds every leaf below it: once K leaves score at least as high as every
    open prefix, nothing better exists. Batched best-first: the `width` best open prefixes go into each pass.
    """

    def __init__(self, k: int, length: int, width: int) -> None:
        self._k = k
        self._length = length
        self._width = width
        self._answer: AcceptedBeams | None = None
        self._must = np.array([ROOT])

    @property
    def answer(self) -> AcceptedBeams | None:
        return self._answer

    def advance(self, tree: ScoredTree) -> list[AcceptedBeams]:
        if self._answer is not None or not tree.n_scored:
            return []
        self._must = self._open(tree)
        if len(self._must):
            return []
        self._answer = self._leaders(tree)
        return [self._answer]

    def must(self, tree: ScoredTree) -> Ints:
        return self._must if self._answer is None else NONE

    def wanted(self, tree: ScoredTree) -> Ints:
        leaders = self._leaders(tree).log_probs
        return tree.node[tree.score >= leaders[-1]] if len(leaders) else NONE

    def _leaders(self, tree: ScoredTree) -> AcceptedBeams:
        leaves = np.flatnonzero(tree.node >= tree.catalog.trie.level[-2])
        chosen = leaves[best(tree.score[leaves], self._k)]
        return AcceptedBeams(self._length, tree.node[chosen], tree.score[chosen])

    def _open(self, tree: ScoredTree) -> Ints:
        """Unscored inner nodes that could still hide one of the K best, best first."""
        leaders = self._leaders(tree).log_probs
        bound = leaders[-1] if len(leaders) == self._k else -np.inf
        entries = np.flatnonzero((tree.node < tree.catalog.trie.level[-2]) & (tree.score > bound))
        entries = entries[[not tree.is_scored(node) for node in tree.node[entries].tolist()]]
        return tree.node[entries[best(tree.score[entries], self._width)]]
