"""Request-time exclusions: a bitmap over leaves that counts, so that no prefix leads to a dead end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.catalog.catalog import Catalog

Ints = npt.NDArray[np.int64]
AnyInts = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class LeafFilter:
    """Which leaves a request may return. A node is alive iff a live leaf lies below it."""

    live: npt.NDArray[np.bool_]  # [leaves]
    bits: npt.NDArray[np.uint64]  # [words] the same, 64 leaves to a word, and at least one leaf's room to spare
    before: npt.NDArray[np.int64]  # [words] live leaves left of each word

    @classmethod
    def without_leaves(cls, catalog: Catalog, leaves: AnyInts) -> LeafFilter:
        """Everything but these leaves."""
        live = np.ones(catalog.n_leaves, np.bool_)
        live[leaves] = False
        return cls.of(live)

    @classmethod
    def without_items(cls, catalog: Catalog, items: AnyInts) -> LeafFilter:
        """Everything but these items: a shared SID lives on while one of its items does."""
        kept = np.ones(catalog.n_items, np.bool_)
        kept[items] = False
        live = np.ones(catalog.n_leaves, np.bool_)
        live[catalog.leaf_of(np.flatnonzero(~kept))] = False  # ascending items are gathered twice as fast
        shared = np.unique(catalog.spare_leaf)
        shared = shared[~live[shared]]
        if shared.size:
            members, counts = catalog.members(shared)
            live[shared] = np.logical_or.reduceat(kept[members], np.cumsum(counts) - counts)
        return cls.of(live)

    @classmethod
    def of(cls, live: npt.NDArray[np.bool_]) -> LeafFilter:
        """From a bitmap over leaves."""
        packed = np.zeros((len(live) // 64 + 1) * 8, np.uint8)
        packed[: -(-len(live) // 8)] = np.packbits(live, bitorder="little")
        bits = packed.view("<u8").astype(np.uint64, copy=False)
        in_word = np.bitwise_count(bits).astype(np.int64)
        return cls(live, bits, np.cumsum(in_word) - in_word)

    def __and__(self, other: LeafFilter) -> LeafFilter:
        return self.of(self.live & other.live)

    def __invert__(self) -> LeafFilter:
        return self.of(~self.live)

    @property
    def dead(self) -> Ints:
        """Leaves that may not be returned, ascending."""
        return np.flatnonzero(~self.live)

    @property
    def n_live(self) -> int:
        """How many leaves may be returned."""
        return int(self._left_of(np.array([len(self.live)]))[0])

    def alive(self, catalog: Catalog, nodes: AnyInts) -> npt.NDArray[np.bool_]:
        """Whether a live leaf lies below each node."""
        low, high = catalog.trie.leaves(nodes)
        return self._left_of(high) > self._left_of(low)

    def _left_of(self, leaves: Ints) -> Ints:
        """How many live leaves lie left of each."""
        word, bit = leaves >> 6, (leaves & 63).astype(np.uint64)
        lower = self.bits[word] & ((np.uint64(1) << bit) - np.uint64(1))
        left: Ints = self.before[word] + np.bitwise_count(lower)
        return left
