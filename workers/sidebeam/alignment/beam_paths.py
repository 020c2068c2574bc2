"""How the beams of one depth hang below those of the depth above, for many samples at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from sidebeam.catalog import ROOT, Trie

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BeamPaths:
    """Beams by depth, from the root at depth 0 down; the root stands for padding wherever else it occurs.

    K of a depth is the number of beams that the sample with most of them has there.
    """

    nodes: tuple[Ints, ...]  # [B, K] of each depth
    parents: tuple[Ints, ...]  # [B, K] of each depth: the place of each one's parent among the depth above

    @classmethod
    def of(cls, beams: Ints, trie: Trie) -> Self:
        """From the beams of all depths, [B, L, K], whose parents are all beams."""
        nodes, parents = [np.full((len(beams), 1), ROOT)], [np.zeros((len(beams), 1), np.int64)]
        for d in range(beams.shape[1]):
            width = max(1, int((beams[:, d] > ROOT).sum(axis=1).max()))
            below = beams[:, d, :width]
            parent = trie.parents(np.maximum(below, 1))  # the root's first child stands in for padding
            place = (parent[..., None] == nodes[-1][:, None]).argmax(axis=-1)
            nodes.append(below)
            parents.append(np.where(below > ROOT, place, 0))
        return cls(tuple(nodes), tuple(parents))

    def final_below(self) -> list[Ints]:
        """How many beams of the last depth go through each beam.  # [B, K] of each depth"""
        counts = [(self.nodes[-1] > ROOT).astype(np.int64)]
        for nodes, parents in zip(self.nodes[-2::-1], self.parents[:0:-1], strict=True):
            samples, width = nodes.shape
            place = np.arange(samples)[:, None] * width + parents
            below = np.bincount(place.ravel(), counts[-1].ravel(), samples * width)
            counts.append(below.reshape(samples, width).astype(np.int64))
        return counts[::-1]

    def ancestors(self, depth: int) -> list[list[Ints]]:
        """`[d][e]`: the places of depth d's beams' ancestors at depth e, 1 to d - 1, at index e - 1.  # [B, K]"""
        found: list[list[Ints]] = [[]]
        for d in range(1, depth):
            up = self.parents[d]
            above = [np.take_along_axis(ancestor, up, axis=1) for ancestor in found[-1]]
            found.append([*above, up] if d > 1 else [])
        return found
