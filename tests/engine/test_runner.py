"""The engine behind an event loop: its own thread runs the passes, streams open and end at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest

from sidebeam.bundle import Bundle
from sidebeam.catalog import Catalog
from sidebeam.engine import EngineRunner, EngineStopped, Recommender, load_target
from sidebeam.search import AcceptedBeams, DraftSettings, DraftWanted, SearchRequest, SearchResult

PROMPT = np.array([1, 5, 14, 25, 35])


@pytest.fixture
async def runner(catalog: Catalog, bundle_of: Callable[..., Bundle]) -> AsyncIterator[EngineRunner]:
    runner = EngineRunner(load_target(bundle_of("llama"), catalog, slots=2))
    runner.engine.warm_up()
    runner.start()
    yield runner
    runner.close()


async def answer(runner: EngineRunner, request: SearchRequest) -> SearchResult:
    async with runner.stream(request) as stream:
        events = [event async for event in stream]
    assert [e.depth for e in events if isinstance(e, AcceptedBeams)] == [1, 2, 3, 4]
    (result,) = (event for event in events if isinstance(event, SearchResult))
    assert events[-1] is result
    return result


async def test_streams_share_passes_and_get_what_they_would_alone(runner: EngineRunner) -> None:
    requests = [SearchRequest(np.append(PROMPT, i + 3), 1 + i % 7) for i in range(12)]
    together = await asyncio.gather(*(answer(runner, request) for request in requests))
    runner.close()
    for request, result in zip(requests, together, strict=True):
        (alone,) = Recommender(runner.engine, None, None).search([request])  # type: ignore[arg-type]
        assert alone.leaves.tolist() == result.leaves.tolist()


async def test_leaving_early_frees_the_slot(runner: EngineRunner) -> None:
    for _ in range(8):  # four times as many as there are slots
        async with runner.stream(SearchRequest(PROMPT, 5, draft=DraftSettings("off"))) as stream:
            async for event in stream:
                assert isinstance(event, AcceptedBeams)
                break
    assert len((await answer(runner, SearchRequest(PROMPT, 5))).leaves) == 5


async def test_an_unanswered_wish_for_a_draft_holds_up_nobody_else(runner: EngineRunner) -> None:
    wishful = SearchRequest(PROMPT, 3, draft=DraftSettings("explicit", "model", 8, 1))
    async with runner.stream(wishful) as stream:
        events = aiter(stream)
        assert isinstance(await anext(events), DraftWanted)
        await answer(runner, SearchRequest(PROMPT, 5))
        stream.draft(None)
        seen = [event async for event in events if isinstance(event, DraftWanted) and stream.draft(None) is None]
    assert len(seen) == 2  # once more for each depth that has inner nodes below it


async def test_a_request_that_no_slot_holds_ends_its_own_stream_only(runner: EngineRunner) -> None:
    async with runner.stream(SearchRequest(np.ones(500, np.int64), 5)) as stream:
        with pytest.raises(ValueError, match="given 500"):
            await anext(aiter(stream))
    await answer(runner, SearchRequest(PROMPT, 5))


async def test_a_failed_pass_ends_every_stream(runner: EngineRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise MemoryError("the device is full")

    monkeypatch.setattr(runner.engine, "step", broken)
    async with runner.stream(SearchRequest(PROMPT, 5)) as stream:
        with pytest.raises(EngineStopped):
            await anext(aiter(stream))
    with pytest.raises(EngineStopped):
        runner.stream(SearchRequest(PROMPT, 5))
