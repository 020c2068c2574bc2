"""A target worker's lines: the same searches as over gRPC, and nothing that one line does is felt on another."""

from __future__ import annotations

import asyncio
import signal
import stat

import grpc
import pytest

from sidebeam.line import Line, line_path
from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.worker.v1 import target_pb2, tree_pb2

WAIT_S = 20


@pytest.fixture
async def connect(tmp_path):
    """Opens a line to the target worker of the test."""
    lines = []

    async def connected() -> Line[target_pb2.SearchResponse]:
        path = line_path(f"unix:{tmp_path / 'target'}")
        _, line = await asyncio.get_running_loop().create_unix_connection(
            lambda: Line(target_pb2.SearchResponse), str(path)
        )
        lines.append(line)
        return line

    yield connected
    for line in lines:
        line.close()
    await asyncio.sleep(0)


def opening(info, **fields) -> target_pb2.SearchRequest:
    known = {"prompt": [1, 4], "top_k": 3, "catalog_version": info.catalog_version}
    return target_pb2.SearchRequest(open=target_pb2.OpenSearch(**known | fields))


def asking(info) -> target_pb2.SearchRequest:
    """A search that asks for drafts, and waits for them."""
    request = opening(info)
    request.open.draft.CopyFrom(
        pb.DraftSettings(mode=pb.DRAFT_MODE_EXPLICIT, drafter=pb.DRAFTER_MODEL, beams=3, length=1)
    )
    return request


async def event(line) -> target_pb2.SearchResponse:
    told = await asyncio.wait_for(line.read(), WAIT_S)
    assert told is not None
    return told


async def answer(line) -> list[target_pb2.SearchResponse]:
    """Events up to the last one of a search."""
    events = [await event(line)]
    while events[-1].WhichOneof("event") in ("beams", "draft_wanted"):
        events.append(await event(line))
    return events


def untimed(events) -> list[target_pb2.SearchResponse]:
    for name in ("queue_ns", "pass_ns", "search_ns", "advice", "pass_log"):
        events[-1].result.ClearField(name)
    return events


async def test_a_line_answers_as_grpc_does_one_search_after_another(run, tiny_bundle, connect):
    _, channel, info = run("target", tiny_bundle)
    assert info.takes_lines
    over_grpc = channel.stream_stream(
        "/sidebeam.worker.v1.TargetService/Search",
        target_pb2.SearchRequest.SerializeToString,
        target_pb2.SearchResponse.FromString,
    )
    line = await connect()
    for prompt in ([1], [1, 4], [1, 4, 11, 17]):
        request = opening(info, prompt=prompt, draft=pb.DraftSettings(mode=pb.DRAFT_MODE_OFF))
        expected = untimed(await asyncio.to_thread(lambda r=request: list(over_grpc(iter([r]), timeout=WAIT_S))))
        line.write(request)
        assert untimed(await answer(line)) == expected
        assert [each.beams.depth for each in expected[:-1]] == [1, 2, 3]


async def test_what_cannot_be_searched_is_refused_and_the_line_goes_on(run, tiny_bundle, connect):
    _, _, info = run("target", tiny_bundle)
    line = await connect()
    for request, code, words in (
        (opening(info, catalog_version="another"), grpc.StatusCode.FAILED_PRECONDITION, info.catalog_version),
        (opening(info, prompt=[]), grpc.StatusCode.INVALID_ARGUMENT, "prompt"),
        (opening(info, top_k=0), grpc.StatusCode.INVALID_ARGUMENT, "top_k must be at least 1; given 0"),
        (target_pb2.SearchRequest(draft=tree_pb2.TokenTree()), grpc.StatusCode.INVALID_ARGUMENT, "open a search"),
    ):
        line.write(request)
        (refused,) = await answer(line)
        assert refused.refusal.code == code.value[0]
        assert words in refused.refusal.details
    line.write(opening(info))
    assert len((await answer(line))[-1].result.leaves) == 3


async def test_a_line_that_is_closed_in_the_middle_gives_its_slot_back(run, tiny_bundle, connect):
    _, _, info = run("target", tiny_bundle, "--slots", "1", "--draft-wait-ms", "600000")
    first, second = await connect(), await connect()
    first.write(asking(info))
    while not (await event(first)).HasField("draft_wanted"):
        pass
    second.write(opening(info))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting := asyncio.ensure_future(second.read())), 0.5)
    first.close()
    assert (await asyncio.wait_for(waiting, WAIT_S)).beams.depth == 1
    assert len((await answer(second))[-1].result.leaves) == 3


async def test_drafts_are_asked_for_and_a_late_one_is_no_harm(run, tiny_bundle, connect):
    _, _, info = run("target", tiny_bundle, "--draft-wait-ms", "1")
    line = await connect()
    line.write(asking(info))
    asked = 0
    while not (told := await event(line)).HasField("result"):
        if told.HasField("draft_wanted"):
            asked += 1
            await asyncio.sleep(0.3)
            line.write(target_pb2.SearchRequest(draft=tree_pb2.TokenTree()))
    assert asked
    assert len(told.result.leaves) == 3


async def test_nonsense_ends_its_own_line_alone(run, tiny_bundle, connect, tmp_path):
    process, _, info = run("target", tiny_bundle)
    line = await connect()
    reader, writer = await asyncio.open_unix_connection(f"{tmp_path / 'target'}.line")
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert await asyncio.wait_for(reader.read(), WAIT_S) == b""
    writer.close()
    line.write(opening(info))
    assert len((await answer(line))[-1].result.leaves) == 3
    assert process.poll() is None


async def test_only_the_owner_may_connect_and_the_socket_goes_with_the_worker(run, tiny_bundle, connect, tmp_path):
    process, _, info = run("target", tiny_bundle)
    path = line_path(f"unix:{tmp_path / 'target'}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    line = await connect()
    line.write(opening(info))
    await answer(line)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(line.read(), WAIT_S) is None
    assert await asyncio.to_thread(process.wait, WAIT_S) == 0
    assert not path.exists()


async def test_a_worker_whose_path_is_too_long_for_lines_serves_without(start, tiny_bundle, tmp_path):
    folder = tmp_path / ("x" * max(1, 100 - len(str(tmp_path))))
    folder.mkdir()
    socket = folder / "t"  # ".line" after it would pass the 107 bytes that a socket's path may have
    assert len(str(socket)) <= 107 < len(str(line_path(f"unix:{socket}")))
    process = start("target", tiny_bundle, socket)
    try:
        with grpc.insecure_channel(f"unix:{socket}") as channel:
            describe = channel.unary_unary(
                "/sidebeam.worker.v1.TargetService/Describe",
                tree_pb2.DescribeRequest.SerializeToString,
                tree_pb2.DescribeResponse.FromString,
            )
            info = describe(tree_pb2.DescribeRequest(), wait_for_ready=True, timeout=60).info
        assert info.slots
        assert not info.takes_lines
    finally:
        process.kill()
        _, said = process.communicate()
    assert '"event": "no_lines"' in said


async def test_a_search_under_way_ends_in_peace_when_its_worker_is_stopped(run, tiny_bundle, connect):
    process, _, info = run("target", tiny_bundle, "--draft-wait-ms", "5000")
    line, idle = await connect(), await connect()
    line.write(asking(info))
    while not (told := await event(line)).HasField("draft_wanted"):
        pass
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(idle.read(), WAIT_S) is None
    while not told.HasField("result"):
        if told.HasField("draft_wanted"):
            line.write(target_pb2.SearchRequest(draft=tree_pb2.TokenTree()))
        told = await event(line)
    assert len(told.result.leaves) == 3
    assert await asyncio.wait_for(line.read(), WAIT_S) is None
    assert await asyncio.to_thread(process.wait, WAIT_S) == 0
