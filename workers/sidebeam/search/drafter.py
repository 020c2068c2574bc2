"""Drafters: what might be needed after the nodes that must be scored. Hints, all of them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from sidebeam.search.gumbel import keys
from sidebeam.search.request import DraftTree, Sampling
from sidebeam.search.scored_tree import NONE, ScoredTree

Ints = npt.NDArray[np.int64]


class TreeDrafter(Protocol):
    """Proposes unscored inner nodes below the nodes that must be scored, level by level, best first."""

    def levels(self, tree: ScoredTree, must: Ints) -> list[Ints]:
        """`levels[j]`: nodes j+1 levels below `must`. A level may hold nodes whose parents no level holds."""


class NoDrafter:
    """Plain search: nothing is drafted."""

    def levels(self, tree: ScoredTree, must: Ints) -> list[Ints]:
        return []


class CatalogDrafter:
    """Every live continuation the trie allows, no model: with L = 4, two passes do for beam search of any width.

    The root's children come with the prompt; below depth 2 real catalogs hardly branch, so all descendants of the
    beams fit into the next pass. `length` levels at most; a level that would pass `limit` nodes ends the draft.
    """

    def __init__(self, length: int, limit: int) -> None:
        self._length = length
        self._limit = limit

    def levels(self, tree: ScoredTree, must: Ints) -> list[Ints]:
        inner = int(tree.catalog.trie.level[-2])  # leaves need no log-probs after them
        levels: list[Ints] = []
        above = np.sort(must)
        while len(levels) < self._length and len(above):
            below, _ = tree.children(above)
            below = below[below < inner]
            below = below[tree.is_alive(below)] if tree.live is not None else below
            if not len(below) or len(below) > self._limit:
                break
            levels.append(below)
            above = below
        return levels


class ModelDrafter:
    """Nodes that a draft model's beam search proposed: N beams, gamma levels (AtSpeed, section 1)."""

    def __init__(self, length: int, sampling: Sampling | None = None) -> None:
        self._length = length
        self._sampling = sampling
        self._nodes = NONE
        self._depths = NONE

    def offer(self, tree: ScoredTree, draft: DraftTree) -> None:
        """Take in a new draft; it replaces the one before."""
        inner = draft.nodes < tree.catalog.trie.level[-2]
        nodes, log_probs = draft.nodes[inner], draft.log_probs[inner]
        nodes = nodes[np.argsort(-keys(self._sampling, nodes, log_probs), kind="stable")]
        self._nodes = nodes
        self._depths = tree.catalog.trie.depth_of(nodes)

    def levels(self, tree: ScoredTree, must: Ints) -> list[Ints]:
        if not len(self._nodes) or not len(must):
            return []
        depth = int(tree.catalog.trie.depth_of(must[:1])[0])
        deepest = min(depth + self._length, tree.catalog.depth - 1, int(self._depths.max()))
        return [self._nodes[self._depths == d] for d in range(depth + 1, deepest + 1)]
