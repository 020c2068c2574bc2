"""Traces of a real sidecar, received by a real OTLP endpoint."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from sidebeam.v1 import knowledge_pb2
from sidebeam.v1 import recommendation_pb2 as pb

pytestmark = pytest.mark.slow  # a sidecar for nearly every test

EXPLICIT = pb.DraftSettings(mode=pb.DRAFT_MODE_EXPLICIT, beams=8, length=3)
HISTORY = pb.ItemHistory(item_ids=["i3", "i17"])
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
RECOMMEND = "sidebeam.v1.RecommendationService/Recommend"
GENERATE = "sidebeam.v1.KnowledgeService/Generate"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps every span with the process that sent it."""

    def __init__(self):
        self.spans = []

    def Export(self, request, context):  # noqa: N802
        for resource in request.resource_spans:
            told = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [(told["service.instance.id"], span) for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def of(self, trace):
        return [(process, span) for process, span in list(self.spans) if span.trace_id.hex() == trace]

    def named(self, trace, name):
        return [(process, span) for process, span in self.of(trace) if span.name == name]


@pytest.fixture(scope="module")
def collector():
    one = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(one, server)
    one.address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield one
    server.stop(None).wait()


@pytest.fixture(scope="module")
def traced(both_bundle, start, wait_until, collector):
    """No draft is ever late; spans are sent soon."""
    patch = pytest.MonkeyPatch()
    patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    patient = {"draft__first_wait_ms": 10_000, "target__draft_wait_ms": 10_000}
    with start(both_bundle, telemetry__traces=collector.address, telemetry__trace_share=0.0, **patient) as one:
        wait_until(lambda: one.events("worker_up", worker="draft"), 90)
        yield one
    patch.undo()


def attributes(of):
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in of.attributes}


def ask(sidecar, connect, traceparent, **fields):
    metadata = (("traceparent", traceparent),) if traceparent else ()
    return list(connect(sidecar).stub.Recommend(pb.RecommendRequest(**fields), timeout=20, metadata=metadata))


def test_a_callers_trace_goes_through_front_draft_and_target(traced, connect, collector, wait_until):
    final = ask(traced, connect, f"00-{TRACE}-{PARENT}-01", history=HISTORY, draft=EXPLICIT)[-1].final
    wait_until(lambda: collector.named(TRACE, RECOMMEND) and collector.named(TRACE, "search"), 20)
    wait_until(lambda: collector.named(TRACE, "draft"), 20)
    ((front, request),) = collector.named(TRACE, RECOMMEND)
    assert (front, request.parent_span_id.hex()) == ("front", PARENT)
    told = attributes(request)
    assert told["sidebeam.request_id"] == final.request_id
    assert (told["sidebeam.passes"], told["rpc.grpc.status_code"]) == (final.passes, "OK")
    for process, name in (("front", "admission"), ("target-0", "search"), ("draft", "draft")):
        spans = collector.named(TRACE, name)
        assert spans
        for sender, span in spans:
            assert (sender, span.parent_span_id) == (process, request.span_id)
            assert request.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
            assert attributes(span).get("sidebeam.request_id", final.request_id) == final.request_id
    ((_, search),) = collector.named(TRACE, "search")
    passes = [attributes(event) for event in search.events if event.name == "pass"]
    assert len(passes) == final.passes
    assert sum(each["rows"] for each in passes) == final.rows
    assert sum(each["drafted"] for each in passes) == final.drafted > 0
    assert sum(each["pass_ms"] for each in passes) == pytest.approx(final.times.pass_ns / 1e6)
    times = [event.time_unix_nano for event in search.events]
    assert search.start_time_unix_nano <= min(times)
    assert times == sorted(times)
    assert max(times) <= search.end_time_unix_nano


def test_a_text_is_a_span_of_its_target(traced, connect, collector, wait_until):
    trace = TRACE.replace("4b", "9a")
    asked = knowledge_pb2.GenerateRequest(prompt="<a_1><b_2>", max_new_tokens=5)
    metadata = (("traceparent", f"00-{trace}-{PARENT}-01"),)
    summary = list(connect(traced).knowledge.Generate(asked, timeout=20, metadata=metadata))[-1].summary
    wait_until(lambda: collector.named(trace, GENERATE) and collector.named(trace, "write"), 20)
    ((front, request),) = collector.named(trace, GENERATE)
    ((target, written),) = collector.named(trace, "write")
    assert (front, target, written.parent_span_id) == ("front", "target-0", request.span_id)
    told = attributes(written)
    assert told["sidebeam.request_id"] == summary.request_id
    assert (told["sidebeam.passes"], told["sidebeam.rows"]) == (summary.passes, summary.rows)


def test_log_lines_name_the_trace(traced, connect, wait_until):
    trace = TRACE.replace("4b", "5c")
    final = ask(traced, connect, f"00-{trace}-{PARENT}-01", history=HISTORY)[-1].final
    wait_until(lambda: traced.events("request_finished", request_id=final.request_id), 5)
    (line,) = traced.events("request_finished", request_id=final.request_id)
    assert line["trace_id"] == trace


def test_callers_decide_whether_their_requests_are_traced(traced, connect, collector, wait_until):
    """Of the requests of others, a share of 0 is traced; a later traced one shows that all earlier ones were sent."""
    unwanted, last = TRACE.replace("4b", "6d"), TRACE.replace("4b", "7e")
    before = len(collector.spans)
    ask(traced, connect, f"00-{unwanted}-{PARENT}-00", history=HISTORY, draft=EXPLICIT)
    ask(traced, connect, None, history=HISTORY, draft=EXPLICIT)
    ask(traced, connect, "00-nonsense", history=HISTORY, draft=EXPLICIT)
    ask(traced, connect, f"00-{last}-{PARENT}-01", history=HISTORY, draft=EXPLICIT)
    for name in (RECOMMEND, "search", "draft"):
        wait_until(lambda name=name: collector.named(last, name), 20)
    assert {span.trace_id.hex() for _, span in collector.spans[before:]} <= {last, TRACE, TRACE.replace("4b", "5c")}


def test_a_refused_request_is_an_error_in_its_trace(traced, connect, collector, wait_until):
    trace = TRACE.replace("4b", "8f")
    with pytest.raises(grpc.RpcError):
        ask(traced, connect, f"00-{trace}-{PARENT}-01", history=pb.ItemHistory(item_ids=["nobody"]))
    wait_until(lambda: collector.named(trace, RECOMMEND), 20)
    ((_, span),) = collector.of(trace)
    assert (span.status.code, span.status.message) == (2, "INVALID_ARGUMENT")


def test_a_collector_that_is_gone_harms_nobody(tiny_bundle, start, connect):
    with start(tiny_bundle, "--draft", "off", telemetry__traces="http://127.0.0.1:1") as one:
        assert len(ask(one, connect, None, history=HISTORY)[-1].final.items) == 5
        assert one.stop() == 0


def test_spans_still_held_are_sent_at_the_end(tiny_bundle, start, connect, collector, monkeypatch):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    trace = TRACE.replace("4b", "a1")
    with start(tiny_bundle, "--draft", "off", telemetry__traces=collector.address) as one:
        ask(one, connect, f"00-{trace}-{PARENT}-01", history=HISTORY)
        assert one.stop() == 0
    assert {(process, span.name) for process, span in collector.of(trace)} == {
        ("front", RECOMMEND),
        ("front", "admission"),
        ("target-0", "search"),
    }


def test_a_collector_address_that_is_none_ends_with_code_2(tiny_bundle, launch):
    one = launch(tiny_bundle, telemetry__traces="localhost:4317")
    assert one.wait() == 2
    assert "telemetry.traces must be http://HOST:PORT or https://HOST:PORT; given 'localhost:4317'" in one.lines[-1]


def test_without_the_packages_the_extra_is_named(tiny_bundle, launch, tmp_path, monkeypatch):
    (tmp_path / "opentelemetry.py").write_text("raise ModuleNotFoundError('not here', name='opentelemetry')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    one = launch(tiny_bundle, telemetry__traces="http://127.0.0.1:4317")
    assert one.wait() == 2
    assert "telemetry.traces needs the extra 'tracing': pip install 'sidebeam[tracing]'" in one.lines[-1]
