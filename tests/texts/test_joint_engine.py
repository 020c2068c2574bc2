"""Searches and texts over one model: each gets what it would get alone."""

from __future__ import annotations

import numpy as np

from sidebeam.catalog import Catalog
from sidebeam.engine import Engine
from sidebeam.engine.ticket import Ticket
from sidebeam.search import AcceptedBeams, DraftSettings, SearchRequest, SearchResult
from sidebeam.texts import JointEngine, PromptLookup, TextRequest, TextResult, TextTicket

from .conftest import Pair, prompts


def search_engine(pair: Pair) -> Engine:
    rng = np.random.default_rng(0)
    sids = rng.integers(0, 8, (60, 4)) + np.array([3, 13, 23, 33])
    return Engine(pair.packed, Catalog.build([str(i) for i in range(60)], sids), "raw", 60)


def run(engine: JointEngine) -> dict[Ticket | TextTicket, SearchResult | TextResult]:
    results: dict[Ticket | TextTicket, SearchResult | TextResult] = {}
    while not engine.is_idle:
        results |= {t: e for t, e in engine.step() if isinstance(e, SearchResult | TextResult)}
    return results


def test_both_get_what_they_would_get_alone(llama: Pair) -> None:
    engine = JointEngine(search_engine(llama), llama.engine(max_open=3))
    engine.warm_up()
    free = llama.packed.slots.n_free
    texts = {engine.open(TextRequest(p, 25, drafter=PromptLookup())): p for p in prompts(9, seed=20)}
    searches = {engine.open(SearchRequest(p, 5, draft=DraftSettings("off"))): p for p in prompts(12, seed=21)}
    results = run(engine)
    assert results.keys() == texts.keys() | searches.keys()
    for ticket, prompt in texts.items():
        assert results[ticket].tokens.tolist() == llama.greedy(prompt, 25)  # type: ignore[union-attr]
    alone = JointEngine(search_engine(llama), llama.engine())
    for ticket, prompt in searches.items():
        (wanted,) = run_one(alone, prompt)
        assert results[ticket].leaves.tolist() == wanted.leaves.tolist()  # type: ignore[union-attr]
    assert llama.packed.slots.n_free == free


def run_one(engine: JointEngine, prompt: np.ndarray) -> list[SearchResult]:
    engine.open(SearchRequest(prompt, 5, draft=DraftSettings("off")))
    return [result for result in run(engine).values() if isinstance(result, SearchResult)]


def test_a_search_waits_for_one_pass_of_texts_at_most(llama: Pair) -> None:
    engine = JointEngine(search_engine(llama), llama.engine(max_open=3))
    texts = [engine.open(TextRequest(prompt, 60)) for prompt in prompts(3, seed=22)]
    for _ in range(5):
        engine.step()
    search = engine.open(SearchRequest(np.array([1, 5, 14]), 5, draft=DraftSettings("off")))
    seen = [ticket for _ in range(8) for ticket, event in engine.step() if isinstance(event, AcceptedBeams)]
    assert seen == [search] * 4  # a pass of each in turn: four depths in eight steps
    engine.cancel(texts[0])
    engine.cancel(search)
    assert set(run(engine)) == set(texts[1:])
