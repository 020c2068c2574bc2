"""The baseline that counts company: what others had beside the items that this user has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from sidebeam.catalog import Catalog
from sidebeam.evaluation.quality import NO_LEAF

Ints = npt.NDArray[np.int64]

REACH = 20  # items apart in a history, up to which two keep each other company
LATEST = 20  # items of a history that are looked at
FADING = 0.8  # what an item counts, of what the one after it does


class Neighbours:
    """SIDs by their company with the latest items of a history, nearer and later ones counting more.

    company(i, j) = sum of 1 / distance over all places where both stand in one training history, over the square
    root of how often each stands anywhere: a cosine. What nobody had beside any of the items is not recommended.
    """

    def __init__(self, catalog: Catalog, histories: Iterable[Sequence[int]]) -> None:
        each = [catalog.leaf_of(np.array(history, np.int64)) for history in histories]
        leaves = np.concatenate([*each, np.zeros(0, np.int64)])
        owner = np.repeat(np.arange(len(each)), list(map(len, each)))
        n = catalog.n_leaves
        keys, found = [], []
        for distance in range(1, REACH + 1):
            one, other = leaves[:-distance], leaves[distance:]
            same = (owner[:-distance] == owner[distance:]) & (one != other)
            keys += [one[same] * n + other[same], other[same] * n + one[same]]
            found.append(np.full(2 * np.count_nonzero(same), 1 / distance))
        pairs, at = np.unique(np.concatenate(keys), return_inverse=True)
        company = np.bincount(at, np.concatenate(found), len(pairs))
        often = np.sqrt(np.bincount(leaves, minlength=n))
        self._first, self._second = np.divmod(pairs, n)
        self._cosine = company / (often[self._first] * often[self._second])
        self._rows = np.searchsorted(self._first, np.arange(n + 1))  # [leaves + 1]
        self._catalog = catalog

    def best(self, k: int, history: Sequence[int]) -> Ints:
        """The k nearest leaves that are not in `history` (item indices), padded with NO_LEAF.  # [k]"""
        owned = self._catalog.leaf_of(np.array(history, np.int64))
        scores = np.zeros(self._catalog.n_leaves)
        for age, leaf in enumerate(owned[::-1][:LATEST]):
            row = slice(self._rows[leaf], self._rows[leaf + 1])
            scores[self._second[row]] += FADING**age * self._cosine[row]
        scores[owned] = 0
        ranked = np.argsort(-scores, kind="stable")[:k]
        chosen = ranked[scores[ranked] > 0]
        return np.pad(chosen, (0, k - len(chosen)), constant_values=NO_LEAF)
