"""The whole job in one process, without any server: for tests, benchmarks and library users."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sidebeam.bundle import Bundle, PromptBuilder, Tokenizer, open_catalog
from sidebeam.engine.draft_model import DraftModel, DraftSession
from sidebeam.engine.engine import Engine
from sidebeam.engine.loading import load_draft, load_target
from sidebeam.engine.ticket import Ticket
from sidebeam.search import (
    DraftAdvice,
    DraftWanted,
    SearchRequest,
    SearchResult,
    Width,
)


@dataclass(slots=True)
class _Open:
    session: DraftSession | None
    place: int


class Recommender:
    """Answers search requests with a target engine and, where there is one, a draft model; not thread-safe."""

    def __init__(self, engine: Engine, draft: DraftModel | None, prompts: PromptBuilder) -> None:
        self.engine = engine
        self.draft = draft
        self.prompts = prompts
        self.advice: dict[tuple[int, bool], DraftAdvice] = {}  # by width, and whether beams are drawn

    @classmethod
    def load(cls, folder: Path | str, **target: Any) -> Recommender:
        """Load a bundle; `target` goes to `load_target`. Raises BundleError or ModelError."""
        bundle = Bundle.open(folder)
        tokenizer = Tokenizer.open(bundle.tokenizer)
        catalog = open_catalog(bundle, tokenizer)
        engine = load_target(bundle, catalog, **target)
        place = {name: target[name] for name in ("device", "dtype") if name in target}
        draft = load_draft(bundle, catalog, **place) if bundle.draft else None
        engine.warm_up()
        if draft is not None:
            draft.warm_up()
        return cls(engine, draft, PromptBuilder(bundle.prompt, tokenizer, catalog))

    def prompt(self, history: Sequence[str]) -> list[int]:
        """Prompt tokens for item ids, oldest first. Raises KeyError for an unknown id."""
        items = self.engine.catalog.item_indices(history)
        for item_id, index in zip(history, items.tolist(), strict=True):
            if index < 0:
                raise KeyError(item_id)
        return self.prompts.from_items(items.tolist())

    def search(self, requests: Sequence[SearchRequest]) -> list[SearchResult]:
        """Answer all requests, sharing passes; results in the requests' order."""
        open_requests: dict[Ticket, _Open] = {}
        for place, request in enumerate(requests):
            request, session = self._first_draft(request)
            open_requests[self.engine.open(request)] = _Open(session, place)
        results: list[SearchResult | None] = [None] * len(requests)
        while open_requests:
            for ticket, event in self.engine.step():
                if isinstance(event, DraftWanted):
                    session = open_requests[ticket].session
                    start = event.start if event.start.depth else None
                    width = Width(event.beams, ticket.request.top_k, ticket.request.sampling)
                    tree = None if session is None else session.propose(start, width, event.length)
                    self.engine.draft(ticket, tree)
                elif isinstance(event, SearchResult):
                    done = open_requests.pop(ticket)
                    results[done.place] = event
                    self.advice[_kind(ticket.request)] = event.advice
                    if done.session is not None:
                        done.session.close()
        return [result for result in results if result is not None]

    def _first_draft(self, request: SearchRequest) -> tuple[SearchRequest, DraftSession | None]:
        """Draft for the first pass, if the request or the last advice says so."""
        settings = request.draft
        if self.draft is None or settings.mode == "off" or settings.drafter != "model" or request.tree is not None:
            return request, None
        advice = self.advice.get(_kind(request), DraftAdvice(0, 0))
        beams, length = (
            (settings.beams, settings.length) if settings.mode == "explicit" else (advice.beams, advice.length)
        )
        if not beams:
            return request, None
        started = time.perf_counter_ns()
        session = self.draft.open(request.prompt, request.excluded)
        if session is None:
            return request, None
        width = Width(beams, request.top_k, request.sampling)
        tree = session.propose(None, width, min(length, self.engine.catalog.depth - 1))
        return replace(request, tree=tree, draft_ns=time.perf_counter_ns() - started), session


def _kind(request: SearchRequest) -> tuple[int, bool]:
    return request.top_k, request.sampling is not None


def tokens(prompt: Sequence[int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Prompt tokens as a search request wants them."""
    return np.asarray(prompt, np.int64)
