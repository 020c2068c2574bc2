"""One engine, two versions of the catalog: each search gets what an engine with its catalog alone would give it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sidebeam.bundle import Bundle
from sidebeam.catalog import Catalog, CatalogUnfit
from sidebeam.engine import HeldSearch, Holding, Recommender, load_draft, load_target
from sidebeam.engine.engine import Engine
from sidebeam.search import DraftSettings, DraftWanted, SearchRequest, SearchResult, Width

PROMPTS = [np.array([1, 5, 14, 25, 35 + i]) for i in range(4)]


@pytest.fixture(scope="module")
def other() -> Catalog:
    """Half of its items are new, and so are some of its tokens."""
    rng = np.random.default_rng(1)
    sids = rng.integers(0, 8, (150, 4)) + np.array([3, 13, 23, 33])
    sids[::2] = rng.integers(0, 8, (75, 4)) + np.array([8, 18, 28, 50])
    return Catalog.build([str(i) for i in range(len(sids))], sids)


def requests(drafts: str = "") -> list[SearchRequest]:
    if drafts == "auto":
        return [SearchRequest(prompt, 3) for prompt in PROMPTS]
    off, tree = DraftSettings("off"), DraftSettings("explicit", "catalog")
    return [SearchRequest(prompt, 3 + i, draft=tree if i % 2 else off) for i, prompt in enumerate(PROMPTS)]


def alone(bundle: Bundle, catalog: Catalog) -> list[SearchResult]:
    return Recommender(load_target(bundle, catalog), None, None).search(requests())  # type: ignore[arg-type]


def together(engine: Engine, holdings: list[Holding], drafts: str = "") -> list[list[SearchResult]]:
    """All requests on each holding, in shared passes."""
    tickets = [[engine.open(HeldSearch(request, holding)) for request in requests(drafts)] for holding in holdings]
    results: dict[object, SearchResult] = {}
    while len(results) < len(holdings) * len(PROMPTS):
        events = engine.step()
        results |= {ticket: event for ticket, event in events if isinstance(event, SearchResult)}
        for ticket, event in events:
            if isinstance(event, DraftWanted):
                engine.draft(ticket, None)
    return [[results[ticket] for ticket in row] for row in tickets]


@pytest.mark.parametrize("scoring", ["raw", "catalog"])
@pytest.mark.parametrize("family", ["llama", "llama, tied"])
def test_searches_of_two_versions_share_passes_and_nothing_else(
    bundle_of: Callable[..., Bundle], catalog: Catalog, other: Catalog, scoring: str, family: str
) -> None:
    bundle = bundle_of(family, scoring)
    expected = [alone(bundle, each) for each in (catalog, other)]
    engine = load_target(bundle, catalog, slots=16)
    first = engine.holding
    second = engine.prepare(other)
    engine.hold(second)
    assert engine.catalog is other
    for got, right in zip(together(engine, [first, second]), expected, strict=True):
        for ours, theirs in zip(got, right, strict=True):
            assert ours.leaves.tolist() == theirs.leaves.tolist()
            assert ours.log_probs == pytest.approx(theirs.log_probs, abs=1e-4)
    assert any(record.batch_searches == 8 for record in got[0].pass_log)


def test_what_is_learned_on_one_version_is_not_known_on_the_other(
    bundle_of: Callable[..., Bundle], catalog: Catalog, other: Catalog
) -> None:
    engine = load_target(bundle_of("llama"), catalog)
    first = engine.holding
    untaught = first.memory._mean.copy()
    together(engine, [first], "auto")
    second = engine.prepare(other)
    engine.hold(second)
    taught = first.memory._mean.copy()
    assert not np.array_equal(taught, untaught)
    fresh = second.memory._mean.copy()
    together(engine, [second], "auto")
    assert np.array_equal(first.memory._mean, taught)
    assert not np.array_equal(second.memory._mean, fresh)
    assert first.budget is not second.budget
    assert first.budget.curve is second.budget.curve


def test_a_draft_model_proposes_from_the_catalog_it_is_asked_for(
    bundle_of: Callable[..., Bundle], catalog: Catalog, other: Catalog
) -> None:
    for scoring in ("raw", "catalog"):
        bundle = bundle_of("llama", scoring, draft="qwen2")
        draft = load_draft(bundle, catalog)
        beside = draft.on(other)
        assert beside.model is draft.model
        right = load_draft(bundle, other)
        for model, judge in ((beside, right), (draft, load_draft(bundle, catalog))):
            trees = []
            for each in (model, judge):
                session = each.open(PROMPTS[0])
                assert session is not None
                trees.append(session.propose(None, Width(6, 3), 4))
                session.close()
            assert trees[0].nodes.tolist() == trees[1].nodes.tolist()
            assert trees[0].log_probs == pytest.approx(trees[1].log_probs, abs=1e-4)


def test_a_catalog_that_does_not_fit_is_refused(bundle_of: Callable[..., Bundle], catalog: Catalog) -> None:
    engine = load_target(bundle_of("llama"), catalog)
    sids = np.array([[3, 13, 23, 90], [4, 14, 24, 34]])
    with pytest.raises(CatalogUnfit, match="token ids reach 90; the model's vocabulary has only 90"):
        engine.prepare(Catalog.build(["a", "b"], sids))
    with pytest.raises(CatalogUnfit, match="SIDs have 3 tokens, the running catalog's 4"):
        engine.prepare(Catalog.build(["a", "b"], sids[:, :3]))
    assert engine.catalog is catalog
