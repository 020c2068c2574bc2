"""What a request may hold, and what a caller sees of an error inside."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from structlog.testing import capture_logs

from sidebeam.bundle import Bundle, Tokenizer, open_catalog
from sidebeam.server.config.config import LimitsConfig
from sidebeam.server.interception.error_interceptor import ErrorInterceptor
from sidebeam.server.interception.request_interceptor import RequestInterceptor
from sidebeam.server.recommendation.edition import Edition
from sidebeam.server.recommendation.validation import Rules, violations
from sidebeam.telemetry import metric
from sidebeam.telemetry.metrics import Metrics
from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.v1 import recommendation_pb2_grpc
from sidebeam.worker.v1 import target_pb2_grpc, tree_pb2

GOOD = pb.RecommendRequest(history=pb.ItemHistory(item_ids=["i1", "i2"]))
SECRET = "/srv/secret/model.bin: no such tensor"


def test_metadata_over_the_limit_is_refused(caller):
    assert list(caller.stub.Recommend(GOOD, metadata=(("x-note", "a" * 12_000),), timeout=20))[-1].final.items
    for _ in range(20):  # never at random
        with pytest.raises(grpc.RpcError) as caught:
            list(caller.stub.Recommend(GOOD, metadata=(("x-note", "a" * 17_000),), timeout=20))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "metadata size exceeds" in caught.value.details()


def test_calls_above_the_limit_of_a_connection_wait_and_other_connections_do_not(start, tiny_bundle):
    apart = (("grpc.use_local_subchannel_pool", 1),)
    asked = health_pb2.HealthCheckRequest()
    with (
        start(tiny_bundle, "--draft", "off", server__max_streams=3) as sidecar,
        grpc.insecure_channel(sidecar.address, apart) as full,
        grpc.insecure_channel(sidecar.address, apart) as other,
    ):
        watchers = [health_pb2_grpc.HealthStub(full).Watch(asked) for _ in range(3)]
        assert [next(watcher).status for watcher in watchers] == [health_pb2.HealthCheckResponse.SERVING] * 3
        recommend = recommendation_pb2_grpc.RecommendationServiceStub(full).Recommend
        with pytest.raises(grpc.RpcError) as caught:
            list(recommend(GOOD, timeout=1))
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert list(recommendation_pb2_grpc.RecommendationServiceStub(other).Recommend(GOOD, timeout=20))[
            -1
        ].final.items
        waiting = recommend(GOOD, timeout=20)
        watchers[0].cancel()
        assert list(waiting)[-1].final.items


def test_a_million_tokens_are_refused_by_their_number_alone(caller):
    error = caller.error(tokens=pb.TokenPrompt(token_ids=[99] * 1_000_000))
    bad_request = error_details_pb2.BadRequest()
    assert rpc_status.from_call(error).details[0].Unpack(bad_request)
    assert [each.field for each in bad_request.field_violations] == ["tokens.token_ids"]
    assert "makes a prompt of 1000000 tokens; at most" in error.details()


@pytest.mark.parametrize(
    ("limits", "request_", "field", "said"),
    [
        ({"max_history_items": 1}, GOOD, "history.item_ids", "must name at most 1 items; given 2"),
        (
            {"max_excluded_items": 1},
            pb.RecommendRequest(excluded_item_ids=["i1", "i2"]),
            "excluded_item_ids",
            "at most 1",
        ),
        ({"max_prompt_chars": 3}, pb.RecommendRequest(prompt="four"), "prompt", "must have 1 to 3 characters; given 4"),
        ({"max_top_k": 4}, pb.RecommendRequest(top_k=5), "top_k", "must be at most 4; given 5"),
        (
            {"max_draft_beams": 2},
            pb.RecommendRequest(draft=pb.DraftSettings(mode=pb.DRAFT_MODE_EXPLICIT, beams=3)),
            "draft.beams",
            "must be 1 to 2 draft beams; given 3",
        ),
    ],
)
def test_limits_of_the_settings_are_those_of_requests(tiny_bundle, limits, request_, field, said):
    bundle = Bundle.open(tiny_bundle)
    tokenizer = Tokenizer.open(bundle.tokenizer)
    edition = Edition.of(bundle, tokenizer, open_catalog(bundle, tokenizer), None)
    rules = Rules(edition, bundle.defaults, LimitsConfig(**limits), vocab_size=27, max_prompt_tokens=61)
    found = {each.field: each.description for each in violations(request_, rules)}
    assert said in found[field]
    assert field not in {each.field for each in violations(request_, replace(rules, limits=LimitsConfig()))}


async def test_no_kind_of_call_tells_what_is_inside():
    async def fail(request, context):
        raise ValueError(SECRET)

    methods = {"Unary": grpc.unary_unary_rpc_method_handler(fail), "Stream": grpc.unary_stream_rpc_method_handler(fail)}
    server = grpc.aio.server(interceptors=[ErrorInterceptor()])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("sidebeam.test", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with capture_logs() as logs:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for method in (channel.unary_unary("/sidebeam.test/Unary"), channel.unary_stream("/sidebeam.test/Stream")):
                call = method(b"")
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await (call if isinstance(call, grpc.aio.UnaryUnaryCall) else call.read())
                assert caught.value.code() is grpc.StatusCode.INTERNAL
                error_id = logs[-1]["error_id"]
                assert caught.value.details() == f"internal error {error_id}; the server's log says more"
    await server.stop(None)


async def test_what_ends_a_call_further_in_is_logged_and_counted_by_its_own_code():
    async def abort(request, context):
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")

    async def fail(request, context):
        raise ValueError(SECRET)

    metrics = Metrics()
    methods = {name: grpc.unary_stream_rpc_method_handler(each) for name, each in (("Abort", abort), ("Fail", fail))}
    server = grpc.aio.server(interceptors=[RequestInterceptor("sidebeam.test", metrics, None)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("sidebeam.test", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with capture_logs() as logs:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for calls, (method, code) in enumerate((("Abort", "NOT_FOUND"), ("Fail", "INTERNAL")), start=1):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await channel.unary_stream(f"/sidebeam.test/{method}")(b"").read()
                assert caught.value.code().name == code
                for _ in range(1000):  # the caller may know it before the server has written it down
                    finished = [line for line in logs if line["event"] == "request_finished"]
                    if len(finished) == calls:
                        break
                    await asyncio.sleep(0.01)
                assert finished[-1]["code"] == code
                assert metrics.counts[metric.REQUESTS][method, code, "", ""] == 1
    (logged,) = (line for line in logs if line["event"] == "request_failed")
    assert caught.value.details() == f"internal error {logged['error_id']}; the server's log says more"
    await server.stop(None)


class Faulty(target_pb2_grpc.TargetServiceServicer):
    """A target worker that describes itself as another does, and refuses every search in words of its own."""

    def __init__(self, info: tree_pb2.WorkerInfo) -> None:
        self._info = info

    async def Describe(self, request, context):  # noqa: N802
        return tree_pb2.DescribeResponse(info=self._info)

    async def Search(self, requests, context):  # noqa: N802
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, SECRET)


@pytest.fixture
def faulty(sidecar):
    """Its address. It runs in an event loop of its own."""
    command = sidecar.worker("target-0").cmdline()
    with grpc.insecure_channel(command[command.index("--listen") + 1]) as channel:
        info = target_pb2_grpc.TargetServiceStub(channel).Describe(tree_pb2.DescribeRequest(), timeout=10).info
    started, stop = threading.Event(), threading.Event()
    addresses = []

    async def serve():
        server = grpc.aio.server()
        target_pb2_grpc.add_TargetServiceServicer_to_server(Faulty(info), server)
        addresses.append(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
        await server.start()
        started.set()
        await asyncio.to_thread(stop.wait)
        await server.stop(None)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(20)
    yield addresses[0]
    stop.set()
    thread.join()


def test_an_error_inside_is_told_as_an_id_and_explained_in_the_log(faulty, tiny_bundle, start, connect, wait_until):
    with start(tiny_bundle, "--draft", "off", target__addresses=faulty) as one:
        error = connect(one).error(history=GOOD.history)
        assert error.code() is grpc.StatusCode.INTERNAL
        (logged,) = one.events("request_failed")
        assert error.details() == f"internal error {logged['error_id']}; the server's log says more"
        assert SECRET in str(logged["exception"])
        assert SECRET not in str(error.trailing_metadata())
        wait_until(lambda: one.events("request_finished", code="INTERNAL", request_id=logged["request_id"]), 10)
