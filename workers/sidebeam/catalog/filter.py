"""Request-time exclusions: a bitmap over leaves with prefix counts, so that no prefix leads to a dead end."""

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
    counts: npt.NDArray[np.int32]  # [leaves + 1] live leaves left of each leaf

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
        counts = np.zeros(len(live) + 1, np.int32)
        np.cumsum(live, out=counts[1:], dtype=np.int32)
        return cls(live, counts)

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
        return int(self.counts[-1])

    def alive(self, catalog: Catalog, nodes: AnyInts) -> npt.NDArray[np.bool_]:
        """Whether a live leaf lies below each node."""
        low, high = catalog.trie.leaves(nodes)
        return self.counts[high] > self.counts[low]
