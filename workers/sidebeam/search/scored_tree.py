"""What the target has said so far: the children of every scored node, with their cumulative log-probs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from sidebeam.catalog import ROOT, Catalog, LeafFilter, ranges

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Frontier:
    """Nodes that one pass scores, and all their children in turn."""

    nodes: Ints  # [n] ascending
    children: Ints  # [C]
    counts: Ints  # [n] children of each


class ScoredTree:
    """Grows, and forgets nothing until the request ends.

    Entries are the children of scored nodes: `node[i]` with cumulative log-prob `score[i]`, -inf where no live leaf
    lies below it. The children of one scored node stand together, in the trie's order.
    """

    def __init__(self, catalog: Catalog, live: LeafFilter | None) -> None:
        self.catalog = catalog
        self.live = live
        self._trie = catalog.trie
        self._node = np.zeros(256, np.int64)
        self._score = np.zeros(256, np.float32)
        self._size = 0
        self._offset: dict[int, int] = {}  # scored node -> entry of its first child

    @property
    def node(self) -> Ints:
        """Children of scored nodes.  # [entries]"""
        return self._node[: self._size]

    @property
    def score(self) -> Floats:
        """Their cumulative log-probs.  # [entries]"""
        return self._score[: self._size]

    @property
    def n_scored(self) -> int:
        """How many nodes have been scored."""
        return len(self._offset)

    def is_scored(self, node: int) -> bool:
        """Whether the log-probs after `node` are known."""
        return node in self._offset

    def unscored(self, nodes: Ints) -> Ints:
        """Those of `nodes` that are not scored, in their order."""
        return nodes[[node not in self._offset for node in nodes.tolist()]] if len(nodes) else nodes

    def unscored_at(self, entries: int, nodes: Ints) -> Ints:
        """Those of `nodes` that were not scored while the tree had so many entries."""
        return nodes[[self._offset.get(node, entries) >= entries for node in nodes.tolist()]]

    def is_alive(self, nodes: Ints) -> npt.NDArray[np.bool_]:
        """Whether each node still leads to an item that may be returned."""
        return np.ones(len(nodes), np.bool_) if self.live is None else self.live.alive(self.catalog, nodes)

    def children(self, nodes: Ints) -> tuple[Ints, Ints]:
        """All children of `nodes` in turn, and how many each has."""
        first, end = self._trie.children(nodes)
        counts = end - first
        return ranges(first, counts), counts

    def frontier(self, nodes: Ints) -> Frontier:
        """`nodes`, ascending, with their children."""
        return Frontier(nodes, *self.children(nodes))

    def entries(self, nodes: Ints) -> Ints:
        """Entries of all children of scored `nodes`, in turn."""
        first, end = self._trie.children(nodes)
        offsets = np.fromiter((self._offset[node] for node in nodes.tolist()), np.int64, len(nodes))
        return ranges(offsets, end - first)

    def scores_of(self, nodes: Ints) -> Floats:
        """Cumulative log-probs of nodes whose parents are scored; the root's is 0."""
        parents = self._trie.parents(np.maximum(nodes, 1))
        at = np.fromiter(
            (self._offset[p] + v if v else 0 for p, v in zip(parents.tolist(), nodes.tolist(), strict=True)),
            np.int64,
            len(nodes),
        )
        at = np.where(nodes == ROOT, 0, at - self._trie.first_child[parents])
        return np.where(nodes == ROOT, np.float32(0), self._score[at]).astype(np.float32)

    def expand(self, frontier: Frontier, log_probs: Floats) -> None:
        """Score the frontier's nodes with the log-prob of every child of theirs, in turn.

        Each node's parent is scored already or stands before it. Sums run from the root in float32, in the order in
        which plain beam search adds them, so that equal beams have equal scores.
        """
        nodes, counts = frontier.nodes, frontier.counts
        low = self._grow(frontier.children, log_probs)
        starts = low + np.cumsum(counts) - counts
        self._offset.update(zip(nodes.tolist(), starts.tolist(), strict=True))
        cuts = np.searchsorted(nodes, self._trie.level).tolist()  # where each depth's nodes begin
        for first, end in pairwise(cuts):
            if first < end:
                span = slice(int(starts[first]), int(starts[end - 1] + counts[end - 1]))
                self._score[span] += np.repeat(self.scores_of(nodes[first:end]), counts[first:end])
        if self.live is not None:
            self._score[low : self._size][~self.live.alive(self.catalog, frontier.children)] = -np.inf

    def _grow(self, children: Ints, log_probs: Floats) -> int:
        low = self._size
        self._size = low + len(children)
        while self._size > len(self._node):
            self._node = np.concatenate([self._node, np.zeros_like(self._node)])
            self._score = np.concatenate([self._score, np.zeros_like(self._score)])
        self._node[low : self._size] = children
        self._score[low : self._size] = log_probs
        return low


def best(scores: Floats, k: int) -> Ints:
    """Indices of the k highest finite scores, best first; equal scores stay in their order."""
    if k < len(scores):
        threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
        chosen = np.flatnonzero(scores >= threshold)
    else:
        chosen = np.arange(len(scores))
    chosen = chosen[scores[chosen] > -np.inf]
    return chosen[np.argsort(-scores[chosen], kind="stable")][:k]
