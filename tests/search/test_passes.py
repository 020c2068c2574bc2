"""What drafts are for: fewer passes, and never a pass's work thrown away."""

from __future__ import annotations

import numpy as np

from sidebeam.catalog import Catalog
from sidebeam.search import (
    Budget,
    Coverage,
    DraftSettings,
    DraftTree,
    Load,
    Memory,
    PassCurve,
    Search,
    SearchRequest,
)
from sidebeam.search.search import EXACT_WIDTH

from .oracle import Oracle, plain_beam_search, play


def branching_catalog(seed: int = 0) -> Catalog:
    """Like a real one: wide at first, hardly branching below depth 2."""
    rng = np.random.default_rng(seed)
    rows = [[a, 10 + b, 20 + rng.integers(0, 9), 30 + rng.integers(0, 9)] for a in range(9) for b in range(9)] * 2
    return Catalog.build([str(i) for i in range(len(rows))], rows)


def test_plain_search_takes_a_pass_for_every_depth() -> None:
    catalog = branching_catalog()
    for k in (1, 5, 20):
        search, passes = play(Oracle(catalog, k), SearchRequest(np.array([1]), k, draft=DraftSettings("off")), "raw")
        assert passes == catalog.depth
        assert [counts.tolist() for counts in search.drafted_by_depth()] == [[0] * 3] * 2


def test_the_catalog_alone_takes_two_passes_whatever_the_width() -> None:
    catalog = branching_catalog()
    draft = DraftSettings("explicit", "catalog")
    for k in (1, 5, 20):
        search, passes = play(Oracle(catalog, k), SearchRequest(np.array([1]), k, draft=draft), "raw", limit=60)
        assert passes == 2
        offered, needed = search.drafted_by_depth()
        assert (needed <= offered).all()
        assert needed[1:].any()  # the depth-2 beams' children; those of depth 1 ride with the prompt


def test_a_perfect_draft_takes_one_pass() -> None:
    catalog = branching_catalog()
    oracle = Oracle(catalog, 1)
    best = plain_beam_search(oracle, catalog.n_leaves, "raw", None)
    nodes, _, _ = catalog.spell(catalog.leaf_node(np.array([leaf for leaf, _ in best])))
    tree = DraftTree(nodes, np.zeros(len(nodes), np.float32))
    request = SearchRequest(np.array([1]), 10, draft=DraftSettings("explicit", "model", 99, 3), tree=tree)
    _, passes = play(oracle, request, "raw")
    assert passes == 1


def test_a_missed_node_is_all_that_the_next_pass_must_bring() -> None:
    catalog = branching_catalog()
    oracle = Oracle(catalog, 2)
    k = 5
    search, _ = play(oracle, SearchRequest(np.array([1]), k, draft=DraftSettings("off")), "raw")
    depth_one = np.unique(catalog.trie.paths(search.answer.nodes)[:, 0])  # type: ignore[union-attr]
    everything, _, _ = catalog.spell(np.arange(catalog.trie.level[3], catalog.trie.level[4]))
    missed = int(depth_one[0])
    below_missed = np.unique(catalog.trie.paths(np.arange(catalog.trie.level[3], catalog.trie.level[4])), axis=0)
    below_missed = below_missed[below_missed[:, 0] == missed].ravel()
    kept = np.setdiff1d(everything, below_missed)
    tree = DraftTree(kept, np.zeros(len(kept), np.float32))
    request = SearchRequest(np.array([1]), k, draft=DraftSettings("explicit", "model", 999, 3), tree=tree)
    seen: list[int] = []

    budget = Budget(PassCurve([1, 2048], [1e6, 1e7]), Coverage())
    again = Search(catalog, request, "raw", 10_000)
    while again.answer is None:
        nodes = again.rows(budget, Memory(catalog), Load())
        seen.append(len(nodes))
        again.settle(again.tree.frontier(nodes), oracle.answer(nodes, "raw"))
    assert seen[1] == 1  # only the missed depth-1 node
    assert catalog.node_leaf(again.answer.nodes).tolist() == [
        leaf for leaf, _ in plain_beam_search(oracle, k, "raw", None)
    ]


def test_forced_tokens_need_no_pass_under_catalog_scoring() -> None:
    rows = [[a, 10 + a, 20 + a, 30 + a] for a in range(8)]  # one item below every first token
    catalog = Catalog.build([str(i) for i in range(8)], rows)
    oracle = Oracle(catalog, 0)
    request = SearchRequest(np.array([1]), 3, draft=DraftSettings("off"))
    assert play(oracle, request, "catalog")[1] == 1
    assert play(oracle, request, "raw")[1] == 4


def test_exact_scores_what_the_proof_needs_and_at_most_one_batch_more() -> None:
    catalog = branching_catalog()
    for seed in range(10):
        oracle = Oracle(catalog, seed, peaked=4.0)
        search, _ = play(oracle, SearchRequest(np.array([1]), 2, "exact"), "raw")
        everything, _ = play(oracle, SearchRequest(np.array([1]), catalog.n_leaves, "exact"), "raw")
        inner = everything.tree.node < catalog.trie.level[-2]
        bound = search.answer.log_probs[-1]  # type: ignore[union-attr]
        needed = 1 + int((everything.tree.score[inner] > bound).sum())  # the root and every prefix above the bound
        assert needed <= search.tree.n_scored <= needed + EXACT_WIDTH * 2
