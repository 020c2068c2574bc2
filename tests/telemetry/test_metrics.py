"""Counting: what a record adds to which series, and how Prometheus reads it."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from sidebeam.telemetry import metric
from sidebeam.telemetry.exposition import AddressError, Exposition, exposed
from sidebeam.telemetry.histogram import Histogram, geometric
from sidebeam.telemetry.metric import METRICS
from sidebeam.telemetry.metrics import Metrics
from sidebeam.telemetry.recent import Recent
from sidebeam.telemetry.request_record import RequestRecord
from sidebeam.v1 import knowledge_pb2
from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.worker.v1 import target_pb2

MS = 1_000_000


def record(request: pb.RecommendRequest, total_ms: float = 20.0) -> RequestRecord:
    """A request that was answered after two passes; it shared the second one, which another search leads."""
    one = RequestRecord("r-1", "Recommend", arrived_ns=5 * MS)
    one.asks(request)
    one.first_beams_ns = 15 * MS
    one.ended_ns = 5 * MS + int(total_ms * MS)
    one.worker = "target-0"
    times = pb.StageTimes(prompt_ns=MS, queue_ns=2 * MS, pass_ns=8 * MS)
    one.final = pb.Final(passes=2, rows=30, times=times)
    one.result = target_pb2.SearchResult(
        passes=2,
        rows=30,
        drafted_by_depth=[6, 9, 0],
        accepted_by_depth=[4, 1, 0],
        pass_log=[
            target_pb2.Pass(pass_ns=5 * MS, rows=25, drafted=15, batch_rows=25, batch_searches=1, leads=True),
            target_pb2.Pass(pass_ns=3 * MS, rows=5, drafted=0, batch_rows=70, batch_searches=4, leads=False),
        ],
    )
    return one


def scrape(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample as Prometheus would store it."""
    registry = CollectorRegistry()
    registry.register(Exposition(metrics))
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


@pytest.fixture
def metrics() -> Metrics:
    one = Metrics()
    one.expect("Recommend", "beam", "strict")
    one.expect_depths(3)
    one.expect_worker("target-0")
    return one


def test_an_answer_is_counted_everywhere_once(metrics: Metrics) -> None:
    metrics.finished(record(pb.RecommendRequest()), "OK", "")
    samples = scrape(metrics)
    asked = (("code", "OK"), ("method", "Recommend"), ("search", "beam"), ("verification", "strict"))
    assert samples["sidebeam_requests_total", asked] == 1
    assert samples["sidebeam_request_duration_seconds_sum", (("method", "Recommend"),)] == pytest.approx(0.020)
    assert samples["sidebeam_first_beams_seconds_sum", ()] == pytest.approx(0.010)
    assert samples["sidebeam_first_provisional_seconds_count", ()] == 0
    assert samples["sidebeam_stage_duration_seconds_sum", (("stage", "pass"),)] == pytest.approx(0.008)
    assert samples["sidebeam_request_passes_sum", ()] == 2
    assert samples["sidebeam_request_rows_total", ()] == 30
    assert samples["sidebeam_drafts_total", ()] == 1
    assert [samples["sidebeam_drafted_tokens_total", (("depth", str(d)),)] for d in (1, 2, 3)] == [6, 9, 0]
    assert [samples["sidebeam_accepted_tokens_total", (("depth", str(d)),)] for d in (1, 2, 3)] == [4, 1, 0]


def test_a_pass_that_others_lead_is_not_counted_again(metrics: Metrics) -> None:
    metrics.finished(record(pb.RecommendRequest()), "OK", "")
    samples = scrape(metrics)
    assert samples["sidebeam_pass_duration_seconds_count", (("worker", "target-0"),)] == 1
    assert samples["sidebeam_pass_duration_seconds_sum", (("worker", "target-0"),)] == pytest.approx(0.005)
    assert samples["sidebeam_pass_rows_sum", ()] == 25
    assert samples["sidebeam_pass_searches_sum", ()] == 1


def test_a_text_is_counted_by_tier(metrics: Metrics) -> None:
    metrics.expect_texts()
    one = RequestRecord("r-3", "Generate", arrived_ns=0, ended_ns=9 * MS)
    tiers = [knowledge_pb2.Tier(name="entity", drafted=9, accepted=7), knowledge_pb2.Tier(name="new", drafted=2)]
    one.summary = knowledge_pb2.Summary(token_ids=[5] * 12, passes=4, tiers=tiers)
    for _ in range(2):
        metrics.finished(one, "OK", "")
    samples = scrape(metrics)
    assert (samples["sidebeam_text_tokens_total", ()], samples["sidebeam_text_passes_total", ()]) == (24, 8)
    kinds = ("drafted", "accepted")
    counted = {
        tier: [samples[f"sidebeam_text_{kind}_tokens_total", (("tier", tier),)] for kind in kinds]
        for tier in ("request", "entity", "group", "global", "replayed", "other")
    }
    none = [0, 0]
    assert counted == {
        "request": none, "entity": [18, 14], "group": none, "global": none, "replayed": none, "other": [4, 0]
    }  # fmt: skip


def test_a_refusal_has_its_reason_and_no_latency(metrics: Metrics) -> None:
    refused = RequestRecord("r-2", "Recommend", arrived_ns=0, ended_ns=9 * MS)
    refused.asks(pb.RecommendRequest(search=pb.SEARCH_EXACT))
    metrics.finished(refused, "RESOURCE_EXHAUSTED", "OVERLOADED")
    samples = scrape(metrics)
    assert samples["sidebeam_rejected_total", (("reason", "OVERLOADED"),)] == 1
    assert samples["sidebeam_request_duration_seconds_count", (("method", "Recommend"),)] == 0
    assert metrics.recent.latencies().p50_ms is None


def test_callers_cannot_make_new_labels(metrics: Metrics) -> None:
    before = len(scrape(metrics))
    for number in range(40, 140):
        metrics.finished(record(pb.RecommendRequest(search=number, verification=number)), "OK", "")
    assert len(scrape(metrics)) == before + 1


def test_series_are_there_before_their_first_event(metrics: Metrics) -> None:
    samples = scrape(metrics)
    zero = [key for key, value in samples.items() if value == 0]
    assert len(zero) == len(samples)
    codes = {dict(labels)["code"] for name, labels in samples if name == "sidebeam_requests_total"}
    assert {"OK", "INTERNAL", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"} <= codes


def test_metrics_follow_the_naming_rules() -> None:
    names = [each.name for each in METRICS]
    assert len(set(names)) == len(names)
    for each in METRICS:
        assert each.name.startswith("sidebeam_")
        assert each.name.endswith("_total") == (each.kind == "counter"), each.name
        assert bool(each.bounds) == (each.kind == "histogram"), each.name
        assert list(each.bounds) == sorted(set(each.bounds)), each.name
        assert each.help.endswith("."), each.name


def test_histogram_buckets_hold_what_is_at_most_their_bound() -> None:
    histogram = Histogram((1.0, 2.0, 4.0))
    for value in (0.5, 1.0, 1.5, 4.0, 9.0):
        histogram.observe(value)
    assert histogram.buckets() == [("1", 2), ("2", 3), ("4", 4), ("+Inf", 5)]
    assert histogram.total == 16.0


def test_latency_buckets_tell_answers_apart() -> None:
    """At most half as much again from one bound to the next, between half a millisecond and the default deadline."""
    assert geometric(0.0005, 1.5, 10.0) == metric.LATENCY
    steps = [high / low for low, high in zip(metric.LATENCY, metric.LATENCY[1:], strict=False)]
    assert max(steps) < 1.52
    assert metric.LATENCY[0] <= 0.0005
    assert metric.LATENCY[-1] >= 10.0


def test_recent_latencies_are_percentiles_of_answers() -> None:
    recent = Recent()
    assert recent.latencies().p99_ms is None
    for ms in range(1, 101):
        recent.add(ms * MS)
    found = recent.latencies()
    assert (found.p50_ms, found.p99_ms) == (50.0, 99.0)
    assert found.per_s > 0
    for _ in range(5_000):
        recent.add(7 * MS)
    assert recent.latencies().p99_ms == 7.0


@pytest.fixture
def address(metrics: Metrics) -> Iterator[str]:
    with exposed(metrics, "127.0.0.1:0") as one:
        yield one


def test_metrics_are_served_over_http(metrics: Metrics, address: str) -> None:
    metrics.finished(record(pb.RecommendRequest()), "OK", "")
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as response:
        text = response.read().decode()
        assert response.headers["Content-Type"].startswith("text/plain")
    families = {family.name for family in text_string_to_metric_families(text)}
    assert {each.name.removesuffix("_total") for each in METRICS} <= families
    assert "process_resident_memory_bytes" in families


def test_the_port_is_free_afterwards(metrics: Metrics) -> None:
    with exposed(metrics, "127.0.0.1:0") as address:
        pass
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://{address}/metrics", timeout=5)
    with exposed(metrics, address) as again:
        assert again == address


@pytest.mark.parametrize("bad", ["9464", ":9464", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "unix:/tmp/x"])
def test_an_address_that_is_none_is_named(metrics: Metrics, bad: str) -> None:
    with pytest.raises(AddressError, match=r"telemetry\.listen must be HOST:PORT") as caught, exposed(metrics, bad):
        pass
    assert repr(bad) in str(caught.value)


def test_an_address_in_use_is_named(metrics: Metrics, address: str) -> None:
    said = f"cannot serve metrics on {address}: Address already in use"
    with pytest.raises(AddressError, match=said), exposed(metrics, address):
        pass
