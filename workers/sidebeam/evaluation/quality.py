"""How good a list is: Recall and NDCG as the AtSpeed paper's code counts them (notes on the method, 4.1).

Lists and ground truth are SIDs, as leaves of the catalog: an item that shares the SID of a wanted one is a hit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats64 = npt.NDArray[np.float64]

NO_LEAF = -1  # where a list is shorter than asked for


def hits(lists: Ints, truths: Sequence[Ints]) -> Bools:
    """Which places of each user's list hold a leaf of that user's ground truth.  # [users, K] for [users, K]

    A list names no leaf twice.
    """
    if not len(truths):
        return np.zeros(lists.shape, np.bool_)
    size = 1 + max(int(lists.max(initial=0)), *(int(truth.max(initial=0)) for truth in truths))
    users = np.arange(len(truths))
    wanted = np.concatenate([user * size + truth for user, truth in enumerate(truths)])
    hit: Bools = np.isin(lists + users[:, None] * size, wanted) & (lists != NO_LEAF)
    return hit


def recall(hit: Bools, truth_sizes: Ints, n: int) -> Floats64:
    """Share of each user's ground truth within the first n places.  # [users] for [users, K]"""
    return np.asarray(hit[:, :n].sum(axis=1) / truth_sizes, np.float64)


def ndcg(hit: Bools, truth_sizes: Ints, n: int) -> Floats64:
    """Hits within the first n places, each worth 1 / log2(place + 1), over the best that was possible.  # [users]"""
    worth = 1 / np.log2(np.arange(n) + 2)  # [n]
    best = np.cumsum(worth)[np.minimum(truth_sizes, n) - 1]
    first = hit[:, :n]
    return np.asarray(first @ worth[: first.shape[1]] / best, np.float64)
