"""What can be answered before the search has ended: verified beams, carried on to whole items by drafts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.catalog import Catalog
from sidebeam.server.recommendation.ranking import Floats, Ints


@dataclass(frozen=True, slots=True)
class Completion:
    """Leaves, best first. `verified` is how many tokens of each SID stand in beams that the target has accepted."""

    leaves: Ints  # [n]
    log_probs: Floats  # [n], natural: the target's up to `verified`, the draft's from there on
    verified: Ints  # [n]


class BestSoFar:
    """Follows one search. A leaf below the deepest beams stands before one that left them on the way there.

    Below a beam for which nothing is drafted, all leaves share its probability.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._nodes: list[Ints] = []  # of each depth, from 1 on
        self._scores: list[Floats] = []
        self._drafted: Ints = np.zeros(0, np.int64)  # ascending
        self._log_q: Floats = np.zeros(0)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known yet."""
        return not self._nodes and not len(self._drafted)

    def accept(self, depth: int, nodes: Ints, log_probs: Floats) -> None:
        """Take the target's beams of the next depth; those of a depth already known are the same ones again."""
        if depth == len(self._nodes) + 1 and len(nodes):
            order = np.argsort(nodes)
            self._nodes.append(nodes[order])
            self._scores.append(log_probs[order])

    def draft(self, nodes: Ints, log_probs: Floats) -> None:
        """Take the draft's tree: trie nodes, and the log-prob of each under the draft."""
        order = np.argsort(nodes)
        self._drafted, self._log_q = nodes[order], log_probs[order]

    def complete(self, dead: Ints, most: int) -> Completion:
        """The best `most` leaves that are not among `dead`, ascending ones, as far as can be told by now."""
        leaves, scores, verified = (
            np.concatenate(both) for both in zip(self._guessed(), self._below_beams(dead, most), strict=True)
        )
        fit = ~_find(dead, leaves)[1]
        leaves, scores, verified = leaves[fit], scores[fit], verified[fit]
        order = np.lexsort((-scores, -verified))
        order = order[np.sort(np.unique(leaves[order], return_index=True)[1])][:most]  # a leaf's best place only
        return Completion(leaves[order], scores[order], verified[order])

    def _guessed(self) -> tuple[Ints, Floats, Ints]:
        """The draft's leaves: the target's score as far as it goes, then the draft's."""
        catalog = self._catalog
        leaf_nodes = self._drafted[catalog.node_leaf(self._drafted) >= 0]
        if not len(leaf_nodes):
            return np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64)
        scores, verified = self._drafts_score(leaf_nodes), np.zeros(len(leaf_nodes), np.int64)
        total = scores.copy()
        for depth, prefix in enumerate(catalog.trie.paths(leaf_nodes).T[: len(self._nodes)], start=1):
            at, is_beam = _find(self._nodes[depth - 1], prefix)
            here = is_beam & (verified == depth - 1)
            rest = np.nan_to_num(scores - self._drafts_score(prefix))  # drafted without its prefix: nothing is known
            total = np.where(here, self._scores[depth - 1][at] + np.minimum(rest, 0.0), total)
            verified = np.where(here, depth, verified)
        return catalog.node_leaf(leaf_nodes), total, verified

    def _below_beams(self, dead: Ints, most: int) -> tuple[Ints, Floats, Ints]:
        """The first leaves below each of the deepest beams."""
        if not self._nodes:
            return np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64)
        first, end = self._catalog.trie.leaves(self._nodes[-1])
        most_below = most + len(dead)
        runs = [np.arange(low, min(high, low + most_below)) for low, high in zip(first, end, strict=True)]
        kept = [run[~_find(dead, run)[1]][:most] for run in runs]
        shares = self._scores[-1] - np.log(end - first)
        counts = [len(run) for run in kept]
        return np.concatenate(kept), np.repeat(shares, counts), np.full(sum(counts), len(self._nodes), np.int64)

    def _drafts_score(self, nodes: Ints) -> Floats:
        at, is_drafted = _find(self._drafted, nodes)
        scores: Floats = np.where(is_drafted, self._log_q[at], np.nan)  # of leaves' prefixes: there are drafted nodes
        return scores


def _find(ascending: Ints, wanted: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Where each of `wanted` stands in `ascending`, and whether it does."""
    if not len(ascending):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    at = np.minimum(np.searchsorted(ascending, wanted), len(ascending) - 1)
    return at, ascending[at] == wanted
