"""The engine against transformers `generate`, for every model family, drafter, width and mixture of requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sidebeam.bundle import Bundle
from sidebeam.catalog import Catalog
from sidebeam.engine import Engine, Recommender, load_draft, load_target
from sidebeam.search import DraftSettings, DraftTree, SearchRequest, SearchResult

from .reference import GenerateBaseline, load_reference, path_log_prob

WIDTHS = (1, 3, 10)
DRAFTS = {
    "off": DraftSettings("off"),
    "auto": DraftSettings("auto"),
    "catalog": DraftSettings("explicit", "catalog"),
    "model": DraftSettings("explicit", "model", 12, 3),
    "model, one level": DraftSettings("explicit", "model", 12, 1),
    "model, narrow": DraftSettings("explicit", "model", 2, 2),
}


def prompts(n: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.concatenate([[1], rng.integers(3, 41, rng.integers(2, 30))]) for _ in range(n)]


def recommender(bundle: Bundle, catalog: Catalog, **options: object) -> Recommender:
    engine = load_target(bundle, catalog, slots=4, **options)  # type: ignore[arg-type]
    engine.warm_up()
    draft = load_draft(bundle, catalog, slots=20) if bundle.draft else None
    return Recommender(engine, draft, None)  # type: ignore[arg-type]


def assert_same(result: SearchResult, leaves: list[int], log_probs: np.ndarray) -> None:
    np.testing.assert_allclose(result.log_probs, log_probs, atol=1e-4)
    assert result.leaves.tolist() == leaves


@pytest.fixture(params=["torch", "packed"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sets of CPU kernels, whichever is the faster on this machine."""
    monkeypatch.setattr("sidebeam.models.cpu_kernels.wins_race", lambda _: request.param == "packed")


@pytest.mark.usefixtures("kernels")
def test_equal_to_generate(
    family: str, catalog: Catalog, bundle_of: Callable[..., Bundle], model_folder: Callable[[str], Path]
) -> None:
    ours = recommender(bundle_of(family, draft="llama"), catalog)
    theirs = GenerateBaseline(load_reference(model_folder(family)), catalog)
    for prompt in prompts(3):
        for k in WIDTHS:
            wanted = theirs(prompt, k)
            for draft in DRAFTS.values():
                (result,) = ours.search([SearchRequest(prompt, k, draft=draft)])
                assert_same(result, *wanted)


@pytest.mark.usefixtures("kernels")
def test_equal_to_generate_with_many_requests_in_flight(
    catalog: Catalog, bundle_of: Callable[..., Bundle], model_folder: Callable[[str], Path]
) -> None:
    ours = recommender(bundle_of("llama", draft="qwen3"), catalog)
    theirs = GenerateBaseline(load_reference(model_folder("llama")), catalog)
    requests, wanted = [], []
    for i, prompt in enumerate(prompts(16, seed=1)):
        k = WIDTHS[i % len(WIDTHS)]
        wanted.append(theirs(prompt, k))
        requests.append(SearchRequest(prompt, k, draft=list(DRAFTS.values())[i % len(DRAFTS)]))
    for result, (leaves, log_probs) in zip(ours.search(requests), wanted, strict=True):
        assert_same(result, leaves, log_probs)


def test_random_drafts_change_nothing(
    catalog: Catalog, bundle_of: Callable[..., Bundle], model_folder: Callable[[str], Path]
) -> None:
    ours = recommender(bundle_of("llama"), catalog)
    theirs = GenerateBaseline(load_reference(model_folder("llama")), catalog)
    rng = np.random.default_rng(7)
    for prompt in prompts(5, seed=2):
        nodes, _, _ = catalog.spell(rng.integers(1, catalog.trie.n_nodes, 30))
        tree = DraftTree(nodes, rng.normal(size=len(nodes)).astype(np.float32))
        draft = DraftSettings("explicit", "model", 30, 3)
        (result,) = ours.search([SearchRequest(prompt, 5, draft=draft, tree=tree)])
        assert_same(result, *theirs(prompt, 5))


@pytest.mark.parametrize("cells", [24, 40])
def test_a_slot_that_overflows_changes_nothing(
    cells: int,
    catalog: Catalog,
    bundle_of: Callable[..., Bundle],
    model_folder: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sidebeam.engine.loading.TREE_CELLS", cells)
    ours = recommender(bundle_of("llama"), catalog)
    theirs = GenerateBaseline(load_reference(model_folder("llama")), catalog)
    for prompt in prompts(4, seed=3):
        wanted = theirs(prompt, 10)
        for draft in (DraftSettings("off"), DraftSettings("explicit", "catalog")):
            (result,) = ours.search([SearchRequest(prompt, 10, draft=draft)])
            assert_same(result, *wanted)


def test_exact_is_the_best_of_the_whole_catalog(
    catalog: Catalog, bundle_of: Callable[..., Bundle], model_folder: Callable[[str], Path]
) -> None:
    ours = recommender(bundle_of("llama"), catalog)
    reference = load_reference(model_folder("llama"))
    sids = catalog.path(catalog.leaf_node(np.arange(catalog.n_leaves)))
    for prompt in prompts(2, seed=4):
        scores = np.array([path_log_prob(reference, prompt, sid) for sid in sids])
        best = np.argsort(-scores)[:10]
        (result,) = ours.search([SearchRequest(prompt, 10, "exact")])
        assert_same(result, best.tolist(), scores[best])


def test_exclusions_return_the_next_best(
    catalog: Catalog, bundle_of: Callable[..., Bundle], model_folder: Callable[[str], Path]
) -> None:
    ours = recommender(bundle_of("llama", draft="llama"), catalog)
    reference = load_reference(model_folder("llama"))
    sids = catalog.path(catalog.leaf_node(np.arange(catalog.n_leaves)))
    (prompt,) = prompts(1, seed=5)
    scores = np.array([path_log_prob(reference, prompt, sid) for sid in sids])
    order = np.argsort(-scores)
    excluded = np.sort(order[:4])
    for draft in DRAFTS.values():
        request = SearchRequest(prompt, 5, "exact", excluded, draft)
        (result,) = ours.search([request])
        assert_same(result, order[4:9].tolist(), scores[order[4:9]])
        (beam,) = ours.search([replace(request, contract="beam", top_k=catalog.n_leaves)])
        assert set(beam.leaves.tolist()) == set(order[4:].tolist())


def test_catalog_scoring_is_renormalised(
    catalog: Catalog, bundle_of: Callable[..., Bundle], model_folder: Callable[[str], Path]
) -> None:
    ours = recommender(bundle_of("llama", "catalog", draft="llama"), catalog)
    (prompt,) = prompts(1, seed=6)
    (everything,) = ours.search([SearchRequest(prompt, catalog.n_leaves, "exact")])
    assert np.exp(everything.log_probs.astype(np.float64)).sum() == pytest.approx(1.0, abs=1e-4)
    for draft in DRAFTS.values():
        (few,) = ours.search([SearchRequest(prompt, 5, "exact", draft=draft)])
        assert_same(few, everything.leaves[:5].tolist(), everything.log_probs[:5])


def test_bfloat16_ranks_by_its_own_log_probs(
    catalog: Catalog, bundle_of: Callable[..., Bundle], model_folder: Callable[[str], Path]
) -> None:
    ours = recommender(bundle_of("llama", draft="llama"), catalog, dtype="bfloat16")
    for prompt in prompts(3, seed=8):
        (plain,) = ours.search([SearchRequest(prompt, 5, draft=DraftSettings("off"))])
        assert np.all(np.diff(plain.log_probs) <= 0)
        assert len(set(plain.leaves.tolist())) == 5


def test_memory_is_taken_once_and_slots_come_back(catalog: Catalog, bundle_of: Callable[..., Bundle]) -> None:
    engine: Engine = load_target(bundle_of("llama"), catalog, slots=3)
    engine.warm_up()
    before = engine.describe().kv_bytes
    assert before > 0
    ours = Recommender(engine, None, None)  # type: ignore[arg-type]
    for _ in range(5):
        ours.search([SearchRequest(p, 5) for p in prompts(10)])
    assert engine.describe().kv_bytes == before
    assert engine.is_idle


def test_a_cancelled_search_leaves_the_next_pass(catalog: Catalog, bundle_of: Callable[..., Bundle]) -> None:
    engine = load_target(bundle_of("llama"), catalog, slots=1)
    engine.warm_up()
    first, second = (engine.open(SearchRequest(p, 5, draft=DraftSettings("off"))) for p in prompts(2))
    engine.step()
    engine.cancel(first)
    seen = [event for _ in range(10) for event in engine.step()]
    assert {ticket for ticket, _ in seen} == {second}
    assert isinstance(seen[-1][1], SearchResult)
    assert engine.is_idle
    engine.cancel(first)
    engine.cancel(second)


def test_a_prompt_beyond_the_slot_is_refused(catalog: Catalog, bundle_of: Callable[..., Bundle]) -> None:
    engine = load_target(bundle_of("llama"), catalog, slots=1)
    with pytest.raises(ValueError, match="prompt must be 1 to 61 tokens; given 62"):
        engine.open(SearchRequest(np.ones(62, np.int64), 5))
    with pytest.raises(ValueError, match="given 0"):
        engine.open(SearchRequest(np.ones(0, np.int64), 5))
