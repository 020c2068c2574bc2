"""Recall and NDCG against values worked out by hand, and the baseline that counts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from sidebeam.catalog import Catalog
from sidebeam.evaluation.neighbours import FADING, Neighbours
from sidebeam.evaluation.popularity import Popularity
from sidebeam.evaluation.quality import NO_LEAF, hits, ndcg, recall


def judged(leaves: Sequence[int], truth: Sequence[int], n: int) -> tuple[float, float]:
    """Recall and NDCG of one list."""
    hit = hits(np.array([leaves]), [np.array(truth)])
    sizes = np.array([len(truth)])
    return float(recall(hit, sizes, n)[0]), float(ndcg(hit, sizes, n)[0])


@pytest.mark.parametrize(
    ("n", "wanted_recall", "wanted_ndcg"),
    [
        (1, 0.0, 0.0),
        (2, 1 / 3, (1 / math.log2(3)) / (1 + 1 / math.log2(3))),
        (3, 2 / 3, (1 / math.log2(3) + 1 / 2) / (1 + 1 / math.log2(3) + 1 / 2)),
        (5, 2 / 3, (1 / math.log2(3) + 1 / 2) / (1 + 1 / math.log2(3) + 1 / 2)),
        (10, 2 / 3, (1 / math.log2(3) + 1 / 2) / (1 + 1 / math.log2(3) + 1 / 2)),  # the list ends at 5
    ],
)
def test_three_wanted_of_which_two_were_found(n: int, wanted_recall: float, wanted_ndcg: float) -> None:
    assert judged([9, 2, 1, 8, 7], [1, 2, 3], n) == pytest.approx((wanted_recall, wanted_ndcg))


def test_one_wanted_counts_by_its_place() -> None:
    assert judged([4, 5, 6, 7], [4], 1) == (1.0, 1.0)
    assert judged([4, 5, 6, 7], [7], 4) == pytest.approx((1.0, 1 / math.log2(5)))
    assert judged([4, 5, 6, 7], [7], 3) == (0.0, 0.0)


def test_a_list_of_nothing_but_hits_is_perfect_even_where_more_was_wanted() -> None:
    assert judged([1, 2], [0, 1, 2, 3], 2) == pytest.approx((0.5, 1.0))


def test_padding_is_never_a_hit() -> None:
    assert judged([3, NO_LEAF, NO_LEAF], [0], 3) == (0.0, 0.0)


def test_no_user_is_credited_with_what_another_wanted() -> None:
    lists = np.array([[0, 1, 2], [0, 1, 2], [5, NO_LEAF, NO_LEAF]])
    hit = hits(lists, [np.array([2]), np.array([0, 7]), np.array([1])])
    assert hit.tolist() == [[False, False, True], [True, False, False], [False, False, False]]
    assert recall(hit, np.array([1, 2, 1]), 3).tolist() == [1.0, 0.5, 0.0]


@pytest.fixture
def catalog() -> Catalog:
    """Items "0" to "5"; "1" and "2" share a SID, so the leaves are 0, 1, 1, 2, 3, 4."""
    return Catalog.build([str(i) for i in range(6)], [[1, 10], [1, 11], [1, 11], [1, 12], [2, 13], [2, 14]])


def test_popularity_counts_items_of_one_sid_together(catalog: Catalog) -> None:
    assert catalog.leaf_of(np.arange(6)).tolist() == [0, 1, 1, 2, 3, 4]
    popularity = Popularity(catalog, [(0, 1, 3), (0, 2), (0, 1), (3,)])  # leaf 0: 3, leaf 1: 3, leaf 2: 2
    assert popularity.best(2, []).tolist() == [0, 1]  # a tie goes by number


def test_popularity_leaves_out_the_history_and_what_nobody_had(catalog: Catalog) -> None:
    popularity = Popularity(catalog, [(0, 1, 3), (0, 2), (0, 1), (3,)])
    assert popularity.best(2, [2]).tolist() == [0, 2]  # "2" has the SID of "1"
    assert popularity.best(4, [0]).tolist() == [1, 2, NO_LEAF, NO_LEAF]


HISTORIES = [(0, 1, 3), (0, 4), (3, 5, 2, 2)]  # leaves 0 1 2, 0 3, 2 4 1 1


def _company(history: list[int]) -> dict[int, float]:
    """Of every leaf with a history of leaves, by the definition."""
    leaves = [(0, 1, 2), (0, 3), (2, 4, 1, 1)]
    often = {leaf: sum(each.count(leaf) for each in leaves) for leaf in range(5)}
    scores = dict.fromkeys(range(5), 0.0)
    for age, had in enumerate(reversed(history)):
        for one in leaves:
            for i, a in enumerate(one):
                for j, b in enumerate(one):
                    if a == had and b != had:
                        scores[b] += FADING**age / abs(i - j) / math.sqrt(often[a] * often[b])
    return {leaf: score for leaf, score in scores.items() if score > 0 and leaf not in history}


@pytest.mark.parametrize("items", [[0], [3], [0, 5], [5, 0], [4, 1]])
def test_neighbours_are_ranked_by_company(catalog: Catalog, items: list[int]) -> None:
    wanted = _company(catalog.leaf_of(np.array(items)).tolist())
    found = Neighbours(catalog, HISTORIES).best(5, items)
    assert found.tolist() == sorted(wanted, key=lambda leaf: -wanted[leaf]) + [NO_LEAF] * (5 - len(wanted))


def test_neighbours_of_nobody_are_none(catalog: Catalog) -> None:
    assert Neighbours(catalog, [(0, 1)]).best(3, [4]).tolist() == [NO_LEAF] * 3
    assert Neighbours(catalog, []).best(2, [0]).tolist() == [NO_LEAF] * 2
