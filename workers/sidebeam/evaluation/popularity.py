"""The baseline that knows no user: what was bought most often, less what this user has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from sidebeam.catalog import Catalog
from sidebeam.evaluation.quality import NO_LEAF

Ints = npt.NDArray[np.int64]


class Popularity:
    """SIDs by how often their items stand in training histories; those that never do are not recommended."""

    def __init__(self, catalog: Catalog, histories: Iterable[Sequence[int]]) -> None:
        items = np.fromiter((item for history in histories for item in history), np.int64)
        counts = np.bincount(catalog.leaf_of(items), minlength=catalog.n_leaves)
        ranked = np.argsort(-counts, kind="stable")
        self._ranked = ranked[counts[ranked] > 0]
        self._catalog = catalog

    def best(self, k: int, history: Sequence[int]) -> Ints:
        """The k most frequent leaves that are not in `history` (item indices), padded with NO_LEAF.  # [k]"""
        owned = np.unique(self._catalog.leaf_of(np.array(history, np.int64)))
        first = self._ranked[: k + len(owned)]
        chosen = first[~np.isin(first, owned)][:k]
        return np.pad(chosen, (0, k - len(chosen)), constant_values=NO_LEAF)
