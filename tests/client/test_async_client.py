"""The async client against a real server in another process."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
from asyncio_throttle import Throttler

from sidebeam.client import (
    AsyncClient,
    Beam,
    Beams,
    DeadlineExceeded,
    Draft,
    Item,
    Provisional,
    Recommendation,
    Sampling,
    ServerError,
    StageTimes,
    Unavailable,
)
from sidebeam.v1 import recommendation_pb2 as pb


async def sent(client: AsyncClient, **arguments: Any) -> pb.RecommendRequest:
    """Return the request as the peer received it."""
    answer = await client.recommend(prompt="echo", **arguments)
    return pb.RecommendRequest.FromString(bytes.fromhex(answer.catalog_version))


async def test_stream_yields_every_event_in_order(peer: Any) -> None:
    items = (Item("item-1", ("<a_1>", "<b_7>"), -0.25, 1, 2), Item("item-2", ("<a_2>", "<b_7>"), -0.5, 2, 2))
    async with AsyncClient(peer.address) as client, client.stream(history=["12", 55], request_id="r-1") as events:
        seen = [event async for event in events]
    assert seen[:3] == [
        Provisional(items),
        Beams(1, (Beam(("<a_0>",), -0.5), Beam(("<a_1>",), -1.0))),
        Beams(2, (Beam(("<a_0>", "<a_0>"), -0.5), Beam(("<a_1>", "<a_1>"), -1.0))),
    ]
    assert seen[3:] == [
        Recommendation(
            items=(*items, Item("item-3", ("<a_3>", "<b_7>"), -0.75, 3, 2)),
            passes=2,
            rows=61,
            drafted=40,
            accepted=30,
            scoring="raw",
            search="exact",
            catalog_version="c0ffee",
            times=StageTimes(1.0, 2.0, 3.0, 4.0, 5.5, 6.0, 17.0),
            request_id="r-1",
        )
    ]


async def test_an_answer_that_was_cut_short_says_so(peer: Any) -> None:
    async with AsyncClient(peer.address) as client:
        cut = await client.recommend(prompt="cut", on_deadline="best_so_far")
        whole = await client.recommend(history=["12"])
    assert [item.verified for item in cut.items] == [2, 1, 0]
    assert (cut.cut_short, whole.cut_short) == (True, False)


async def test_recommend_returns_the_streams_last_event(peer: Any) -> None:
    async with AsyncClient(peer.address) as client:
        answer = await client.recommend(history=["12"], request_id="same")
        async with client.stream(history=["12"], request_id="same") as events:
            streamed = [event async for event in events]
    assert answer == streamed[-1]


async def test_every_argument_reaches_the_sidecar(peer: Any) -> None:
    async with AsyncClient(peer.address) as client:
        plain = await sent(client)
        full = await sent(
            client,
            history=iter(["12", 55]),
            tokens=[1, 2, 2**32 - 1],
            top_k=7,
            exclude={"9"},
            draft=Draft(beams=40, length=3, drafter="catalog"),
            search="exact",
            sampling=Sampling(0.5, top_k=9, seed=2**32 - 1),
            on_deadline="best_so_far",
        )
        off = await sent(client, draft="off", history=[])
    auto = pb.DraftSettings(mode=pb.DRAFT_MODE_AUTO)
    assert plain == pb.RecommendRequest(
        prompt="echo", draft=auto, search=pb.SEARCH_BEAM, on_deadline=pb.ON_DEADLINE_FAIL, final_only=True
    )
    assert full == pb.RecommendRequest(
        prompt="echo",
        history=pb.ItemHistory(item_ids=["12", "55"]),
        tokens=pb.TokenPrompt(token_ids=[1, 2, 2**32 - 1]),
        top_k=7,
        excluded_item_ids=["9"],
        draft=pb.DraftSettings(mode=pb.DRAFT_MODE_EXPLICIT, beams=40, length=3, drafter=pb.DRAFTER_CATALOG),
        search=pb.SEARCH_EXACT,
        final_only=True,
        verification=pb.VERIFICATION_RELAXED,
        sampling=pb.Sampling(temperature=0.5, top_k=9, seed=2**32 - 1),
        on_deadline=pb.ON_DEADLINE_BEST_SO_FAR,
    )
    assert off.draft.mode == pb.DRAFT_MODE_OFF
    assert off.HasField("history"), "an empty history is for the sidecar to refuse, not for the client to hide"


async def test_leaving_the_block_cancels_the_call(peer: Any) -> None:
    async with AsyncClient(peer.address) as client:
        async with client.stream(prompt="endless", request_id="left-early") as events:
            async for event in events:
                assert event == Beams(1, (Beam(("<a_0>",), -0.5), Beam(("<a_1>",), -1.0)))
                break
        await asyncio.to_thread(peer.wait_for, "cancelled left-early")


async def test_cancelling_the_caller_cancels_the_call(peer: Any) -> None:
    async with AsyncClient(peer.address) as client:
        task = asyncio.create_task(client.recommend(prompt="endless", request_id="task-cancelled"))
        await asyncio.to_thread(peer.wait_for, "started task-cancelled")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(peer.wait_for, "cancelled task-cancelled")


async def test_the_callers_own_timeout_stays_a_timeout(peer: Any) -> None:
    async with AsyncClient(peer.address) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.recommend(prompt="silent")


async def test_a_call_that_the_peer_cancels_is_an_error_not_a_cancelled_task(peer: Any) -> None:
    async with AsyncClient(peer.address) as client:
        with pytest.raises(ServerError, match="not my day") as caught:
            await client.recommend(prompt="cancelling", request_id="theirs")
    assert (caught.value.code.name, caught.value.request_id) == ("CANCELLED", "theirs")


async def test_the_deadline_ends_a_call_in_time_at_both_sides(peer: Any) -> None:
    async with AsyncClient(peer.address) as client:
        await client.recommend(history=["12"])  # the connection is not what is measured
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.2 s") as caught:
            await client.recommend(prompt="silent", timeout_s=0.2, request_id="late")
        assert 0.15 < time.monotonic() - started < 2
        await asyncio.to_thread(peer.wait_for, "cancelled late")
    assert (caught.value.code.name, caught.value.request_id) == ("DEADLINE_EXCEEDED", "late")


@pytest.mark.parametrize(("own", "low", "high"), [(None, 6.0, 7.0), (3.0, 2.0, 3.0)])
async def test_a_call_without_a_deadline_has_the_clients(peer: Any, own: float | None, low: float, high: float) -> None:
    async with AsyncClient(peer.address, timeout_s=7.0) as client:
        answer = await client.recommend(prompt="remaining", timeout_s=own)
    assert low < float(answer.catalog_version) < high + 0.1  # gRPC rounds up, by its own clock


async def test_events_before_a_failure_are_delivered(peer: Any) -> None:
    async with AsyncClient(peer.address) as client, client.stream(prompt="silent", timeout_s=0.3) as events:
        first = await anext(events)
        with pytest.raises(DeadlineExceeded):
            await anext(events)
    assert isinstance(first, Beams)


async def test_a_stream_without_an_answer_is_an_error(peer: Any) -> None:
    async with AsyncClient(peer.address) as client:
        with pytest.raises(ServerError, match="ended without an answer"):
            await client.recommend(prompt="no_answer")


async def test_what_a_newer_sidecar_adds_is_passed_over(peer: Any) -> None:
    async with AsyncClient(peer.address) as client, client.stream(prompt="newer") as events:
        seen = [event async for event in events]
    assert [type(event) for event in seen] == [Recommendation]
    assert [event.scoring for event in seen if isinstance(event, Recommendation)] == ["9"]


async def test_calls_run_at_the_same_time_over_one_connection(peer: Any) -> None:
    async with AsyncClient(peer.address) as client:
        ids = [f"together-{index}" for index in range(16)]
        answers = await asyncio.gather(*(client.recommend(history=["12"], request_id=each) for each in ids))
        others = await asyncio.gather(*(client.recommend(prompt="many 500") for _ in range(4)))
    assert [answer.request_id for answer in answers] == ids
    assert {len(answer.items) for answer in others} == {500}


async def test_the_rate_limit_paces_calls_and_counts_against_the_deadline(peer: Any) -> None:
    async with AsyncClient(peer.address, rate_limit=Throttler(rate_limit=2, period=0.5)) as client:
        started = time.monotonic()
        answers = [await client.recommend(prompt="remaining", timeout_s=5.0) for _ in range(3)]
        assert time.monotonic() - started >= 0.45
        assert float(answers[0].catalog_version) - float(answers[2].catalog_version) > 0.3
        with pytest.raises(DeadlineExceeded, match="own rate limit"):
            await asyncio.gather(*(client.recommend(history=["12"], timeout_s=0.1) for _ in range(5)))


async def test_waits_for_a_sidecar_that_warms_up(slow_peer: Any) -> None:
    async with AsyncClient(slow_peer.address) as client:
        with pytest.raises(Unavailable, match=r"not ready within 0\.2 s; it is NOT_SERVING"):
            await client.wait_until_ready(0.2)
        await client.wait_until_ready(10)


async def test_waits_for_a_sidecar_that_does_not_listen_yet() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused, and nobody else gets the port
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with AsyncClient(address) as client:
            with pytest.raises(Unavailable, match=r"not ready within 0\.3 s; it does not answer"):
                await client.wait_until_ready(0.3)
            with pytest.raises(Unavailable, match=r"no sidecar answers there \(.*Connection refused\)") as caught:
                await client.recommend(history=["12"])
    assert caught.value.code.name == "UNAVAILABLE"
    assert caught.value.retry_after_s is None


async def test_whoever_hangs_up_at_once_may_want_tls() -> None:
    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        async with AsyncClient(f"{host}:{port}") as client:
            with pytest.raises(Unavailable, match=r"\(Socket closed: does it want TLS, or a client certificate\?\)"):
                await client.recommend(history=["12"])


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf")])
async def test_waiting_needs_a_positive_time(timeout_s: float) -> None:
    async with AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(ValueError, match="timeout_s"):
            await client.wait_until_ready(timeout_s)


async def test_a_closed_client_says_so(peer: Any) -> None:
    client = AsyncClient(peer.address)
    await client.recommend(history=["12"])
    await client.aclose()
    await client.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await client.recommend(history=["12"])


async def test_closing_ends_open_calls_with_an_error(peer: Any) -> None:
    client = AsyncClient(peer.address)
    task = asyncio.create_task(client.recommend(prompt="silent", request_id="closed-under"))
    await asyncio.to_thread(peer.wait_for, "started closed-under")
    await client.aclose()
    with pytest.raises(ServerError, match="closed during the call"):
        await task


def test_a_client_belongs_to_one_event_loop(peer: Any) -> None:
    client = AsyncClient(peer.address)

    async def ask() -> None:
        await client.recommend(history=["12"])

    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(ask())
        with pytest.raises(RuntimeError, match="another event loop"):
            second.run(ask())
        first.run(client.aclose())


async def test_a_stream_is_entered_once_and_before_it_is_read(peer: Any) -> None:
    async with AsyncClient(peer.address) as client:
        stream = client.stream(history=["12"])
        with pytest.raises(RuntimeError, match="enter the stream first"):
            await anext(stream)
        async with stream:
            with pytest.raises(RuntimeError, match="entered once"):
                await stream.__aenter__()
