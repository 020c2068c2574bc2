"""Worker processes by themselves: what they refuse, and how they end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.worker.v1 import draft_pb2, target_pb2, tree_pb2


def search(channel, **fields):
    call = channel.stream_stream(
        "/sidebeam.worker.v1.TargetService/Search",
        target_pb2.SearchRequest.SerializeToString,
        target_pb2.SearchResponse.FromString,
    )
    return call(iter([target_pb2.SearchRequest(open=target_pb2.OpenSearch(**fields))]), timeout=20)


def test_all_threads_of_a_worker_give_way_once_it_serves(run, tiny_bundle):
    process, channel, info = run("target", tiny_bundle, "--nice", "7")
    assert len(list(search(channel, prompt=[1], top_k=2, catalog_version=info.catalog_version))) == 4
    found = {os.getpriority(os.PRIO_PROCESS, int(each.name)) for each in Path(f"/proc/{process.pid}/task").iterdir()}
    assert found == {os.getpriority(os.PRIO_PROCESS, 0) + 7}


def test_a_target_describes_itself_and_refuses_another_catalog(run, tiny_bundle):
    process, channel, info = run("target", tiny_bundle, "--slots", "3", "--max-prompt-tokens", "40")
    assert (info.vocab_size, info.slots, info.max_prompt_tokens) == (27, 3, 40)
    assert info.kv_bytes > 0
    assert list(info.curve_rows) == sorted(info.curve_rows)
    assert len(info.curve_ns) == len(info.curve_rows) > 3
    with pytest.raises(grpc.RpcError) as caught:
        list(search(channel, prompt=[1], top_k=2, catalog_version="another"))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert info.catalog_version in caught.value.details()
    for prompt in ([], [1] * 41):
        with pytest.raises(grpc.RpcError) as caught:
            list(search(channel, prompt=prompt, top_k=2, catalog_version=info.catalog_version))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    events = list(search(channel, prompt=[1], top_k=2, catalog_version=info.catalog_version))
    assert [event.beams.depth for event in events[:-1]] == [1, 2, 3]
    assert len(events[-1].result.leaves) == 2
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


async def test_a_draft_that_comes_too_late_still_finds_its_search_open(run, tiny_bundle, tmp_path):
    """Else its sender is told of an error, gets no answer, and takes a worker for gone that is not."""
    _, _, info = run("target", tiny_bundle, "--draft-wait-ms", "1")
    async with grpc.aio.insecure_channel(f"unix:{tmp_path / 'target'}") as channel:
        call = channel.stream_stream(
            "/sidebeam.worker.v1.TargetService/Search",
            target_pb2.SearchRequest.SerializeToString,
            target_pb2.SearchResponse.FromString,
        )(timeout=20)
        opening = target_pb2.OpenSearch(prompt=[1, 4], top_k=3, catalog_version=info.catalog_version)
        opening.draft.mode = pb.DRAFT_MODE_EXPLICIT
        opening.draft.drafter = pb.DRAFTER_MODEL
        opening.draft.beams, opening.draft.length = 3, 1
        await call.write(target_pb2.SearchRequest(open=opening))
        asked = 0
        while (event := await call.read()).WhichOneof("event") != "result":
            if event.HasField("draft_wanted"):
                asked += 1
                await asyncio.sleep(0.5)  # by now the search has long gone on to its end
                await call.write(target_pb2.SearchRequest(draft=tree_pb2.TokenTree()))
        assert asked
        assert len(event.result.leaves) == 3


def test_a_draft_gives_trees_until_its_slots_are_taken(run, tiny_bundle):
    _, channel, info = run("draft", tiny_bundle, "--slots", "1")
    assert info.vocab_size == 27
    call = channel.stream_stream(
        "/sidebeam.worker.v1.DraftService/Propose",
        draft_pb2.ProposeRequest.SerializeToString,
        draft_pb2.ProposeResponse.FromString,
    )

    version = info.catalog_version
    opening = draft_pb2.ProposeRequest(prompt=[1, 4], beams=3, length=2, catalog_version=version)
    other = draft_pb2.ProposeRequest(prompt=[1], beams=1, length=1, catalog_version=version)
    first, whole = list(call(iter([opening, draft_pb2.ProposeRequest(beams=3, length=4)]), timeout=20))
    assert len(first.tree.tokens) == 3 + 3
    assert len(whole.tree.tokens) == 4 * 3
    assert whole.draft_ns > 0

    release = threading.Event()

    def one_and_wait():
        yield opening
        release.wait(20)

    holder = call(one_and_wait(), timeout=20)
    next(holder)
    with pytest.raises(grpc.RpcError) as caught:
        list(call(iter([other]), timeout=20))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    release.set()
    assert list(holder) == []
    assert len(list(call(iter([other]), timeout=20))) == 1


@pytest.mark.parametrize("kind", ["target", "draft"])
def test_a_worker_tells_its_health(run, tiny_bundle, kind):
    _, channel, _ = run(kind, tiny_bundle)
    stub = health_pb2_grpc.HealthStub(channel)
    for name in ("", "liveness"):
        status = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10).status
        assert status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("kind", ["target", "draft"])
def test_a_worker_ends_with_its_parent(run, tiny_bundle, kind):
    process, _, _ = run(kind, tiny_bundle, "--lifeline")
    process.stdin.close()
    process.stdin = None
    assert process.wait(10) == 0


def test_a_worker_without_a_lifeline_does_not_mind_its_standard_input(run, tiny_bundle):
    process, _, _ = run("draft", tiny_bundle)
    process.stdin.close()
    process.stdin = None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)


@pytest.mark.parametrize(
    ("flags", "words"),
    [(["--bundle", "/no/such/folder"], "no such folder"), (["--max-prompt-tokens", "99"], "1 to 61"),
     (["--dtype", "int3"], "invalid choice"), (["--threads", "0"], "at least 1"), (["--max-memory", "{"], "not JSON")],
)  # fmt: skip
def test_a_target_that_cannot_be_ends_with_code_2(start, tiny_bundle, tmp_path, flags, words):
    process = start("target", tiny_bundle, tmp_path / "s", *flags)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert words in said
