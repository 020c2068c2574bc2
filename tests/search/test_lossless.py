"""Whatever is drafted, the answer is plain beam search's, or the whole catalog's best: against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidebeam.catalog import Catalog
from sidebeam.search import DraftSettings, DraftTree, Search, SearchRequest
from sidebeam.search.request import Contract, Scoring

from .oracle import Oracle, plain_beam_search, play, whole_catalog

DRAFTS = ["off", "auto", "catalog", "catalog of one level", "random", "perfect"]


def random_catalog(seed: int, items: int, codes: int, length: int) -> Catalog:
    rng = np.random.default_rng(seed)
    return Catalog.build(
        [str(i) for i in range(items)], rng.integers(0, codes, (items, length)) + codes * np.arange(length)
    )


def drafted(kind: str, request: SearchRequest, oracle: Oracle, seed: int, scoring: Scoring):  # type: ignore[no-untyped-def]
    """The request with draft settings, and what to offer before each pass."""
    catalog = oracle.catalog
    rng = np.random.default_rng(seed)
    settings_of = {
        "off": DraftSettings("off"),
        "auto": DraftSettings("auto"),
        "catalog": DraftSettings("explicit", "catalog"),
        "catalog of one level": DraftSettings("explicit", "catalog", 0, 1),
        "random": DraftSettings("explicit", "model", 12, catalog.depth),
        "perfect": DraftSettings("explicit", "model", 99, catalog.depth),
    }

    def offer(search: Search) -> None:
        if kind == "random":
            nodes, _, _ = catalog.spell(rng.integers(1, catalog.trie.n_nodes, 12))
            search.offer(DraftTree(nodes, rng.normal(size=len(nodes)).astype(np.float32)))
        elif kind == "perfect":
            leaves = np.array([leaf for leaf, _ in plain_beam_search(oracle, 99, scoring, request.excluded)], np.int64)
            nodes, _, _ = catalog.spell(catalog.leaf_node(leaves))
            search.offer(DraftTree(nodes, np.zeros(len(nodes), np.float32)))

    fields = {name: getattr(request, name) for name in ("prompt", "top_k", "contract", "excluded")}
    return SearchRequest(**fields, draft=settings_of[kind]), offer


@pytest.mark.parametrize("scoring", ["raw", "catalog"])
@pytest.mark.parametrize("kind", DRAFTS)
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    items=st.integers(1, 60),
    codes=st.integers(2, 6),
    length=st.integers(1, 4),
    k=st.integers(1, 25),
    share=st.sampled_from([0.0, 0.3, 0.9]),
    contract=st.sampled_from(["beam", "exact"]),
)
def test_the_answer_is_brute_force(
    scoring: Scoring,
    kind: str,
    seed: int,
    items: int,
    codes: int,
    length: int,
    k: int,
    share: float,
    contract: Contract,
) -> None:
    catalog = random_catalog(seed, items, codes, length)
    oracle = Oracle(catalog, seed)
    rng = np.random.default_rng(seed)
    excluded = np.flatnonzero(rng.random(catalog.n_leaves) < share) if share else None
    request = SearchRequest(np.array([1]), k, contract, excluded)
    request, offer = drafted(kind, request, oracle, seed, scoring)
    search, _ = play(oracle, request, scoring, offer=offer)
    brute = plain_beam_search if contract == "beam" else whole_catalog
    wanted = brute(oracle, k, scoring, excluded)
    assert search.answer is not None
    leaves = catalog.node_leaf(search.answer.nodes).tolist()
    np.testing.assert_allclose(search.answer.log_probs, [s for _, s in wanted], atol=1e-4)
    assert [leaf for leaf, _ in wanted] == leaves


@pytest.mark.parametrize("contract", ["beam", "exact"])
def test_a_small_pass_limit_changes_nothing(contract: Contract) -> None:
    catalog = random_catalog(3, 60, 5, 4)
    oracle = Oracle(catalog, 3)
    for kind in DRAFTS:
        request, offer = drafted(kind, SearchRequest(np.array([1]), 9, contract), oracle, 1, "raw")
        search, passes = play(oracle, request, "raw", limit=3, offer=offer)
        brute = plain_beam_search if contract == "beam" else whole_catalog
        assert search.answer is not None
        assert catalog.node_leaf(search.answer.nodes).tolist() == [leaf for leaf, _ in brute(oracle, 9, "raw", None)]
        assert passes > 4


def test_everything_excluded_leaves_an_empty_answer() -> None:
    catalog = random_catalog(0, 20, 4, 3)
    oracle = Oracle(catalog, 0)
    for contract in ("beam", "exact"):
        request = SearchRequest(np.array([1]), 4, contract, np.arange(catalog.n_leaves))
        search, _ = play(oracle, request, "raw")
        assert search.answer is not None
        assert not len(search.answer.nodes)
        assert not search.drafted_by_depth()[1].any()


def test_equal_scores_keep_the_catalogs_order() -> None:
    catalog = random_catalog(5, 40, 5, 3)
    oracle = Oracle(catalog, 5, peaked=0.0)  # all logits equal
    search, _ = play(oracle, SearchRequest(np.array([1]), 6), "raw")
    assert search.answer is not None
    assert catalog.node_leaf(search.answer.nodes).tolist() == list(range(6))
