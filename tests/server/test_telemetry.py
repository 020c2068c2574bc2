"""Metrics and log lines of a real sidecar."""

from __future__ import annotations

import socket
import subprocess
import sys
import urllib.request

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidebeam.v1 import recommendation_pb2 as pb

EXPLICIT = pb.DraftSettings(mode=pb.DRAFT_MODE_EXPLICIT, beams=8, length=3)
HISTORY = pb.ItemHistory(item_ids=["i3", "i17"])


def scrape(address):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as response:
        text = response.read().decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def observed(tiny_bundle, start, wait_until):
    """A sidecar that exposes metrics and says everything; no draft is ever late."""
    patient = {"draft__first_wait_ms": 10_000, "target__draft_wait_ms": 10_000}
    flags = ("--metrics", "127.0.0.1:0", "--log-level", "debug")
    with start(tiny_bundle, *flags, draft__provisional="always", **patient) as one:
        wait_until(lambda: one.events("worker_up", worker="draft"), 90)
        yield one


@pytest.fixture(scope="module")
def metrics(observed):
    return observed.events("metrics_listening")[0]["address"]


def test_metrics_equal_what_callers_were_told(observed, metrics, connect):
    before = scrape(metrics)
    caller = connect(observed)
    answers = [caller.events(history=HISTORY, draft=EXPLICIT) for _ in range(3)]
    after = scrape(metrics)
    finals = [events[-1].final for events in answers]

    def more(*key):
        return after[key] - before.get(key, 0)

    assert more("sidebeam_request_passes_sum") == sum(final.passes for final in finals)
    assert more("sidebeam_request_rows_total") == sum(final.rows for final in finals)
    assert more("sidebeam_pass_searches_count") == sum(final.passes for final in finals)  # one request at a time
    assert more("sidebeam_pass_rows_sum") == sum(final.rows for final in finals)
    depths = ("1", "2", "3")
    assert sum(more("sidebeam_drafted_tokens_total", d) for d in depths) == sum(final.drafted for final in finals) > 0
    assert sum(more("sidebeam_accepted_tokens_total", d) for d in depths) == sum(final.accepted for final in finals)
    passed = sum(final.times.pass_ns for final in finals) / 1e9
    assert more("sidebeam_stage_duration_seconds_sum", "pass") == pytest.approx(passed)
    assert more("sidebeam_pass_duration_seconds_sum", "target-0") == pytest.approx(passed)
    assert more("sidebeam_request_duration_seconds_count", "Recommend") == 3
    provisional = sum(any(event.HasField("provisional") for event in events) for events in answers)
    assert more("sidebeam_first_provisional_seconds_count") == provisional
    assert more("sidebeam_first_beams_seconds_count") == 3


def test_metrics_know_the_workers(observed, metrics, wait_until):
    assert scrape(metrics)["sidebeam_serving",] == 1
    observed.worker("draft").kill()
    wait_until(lambda: scrape(metrics)["sidebeam_worker_up", "draft"] == 0, 10)
    wait_until(lambda: scrape(metrics)["sidebeam_worker_up", "draft"] == 1, 60)
    now = scrape(metrics)
    assert now["sidebeam_worker_restarts_total", "draft"] == 1
    assert now["sidebeam_worker_restarts_total", "target-0"] == 0
    assert now["sidebeam_worker_up", "target-0"] == 1


def test_one_id_goes_through_all_processes(observed, connect, wait_until):
    wait_until(lambda: scrape(observed.events("metrics_listening")[0]["address"])["sidebeam_worker_up", "draft"], 60)
    request = pb.RecommendRequest(history=HISTORY, draft=EXPLICIT)
    call = connect(observed).stub.Recommend(request, metadata=(("x-request-id", "order-78"),), timeout=20)
    final = list(call)[-1].final
    wait_until(lambda: observed.events("request_finished", request_id="order-78"), 5)
    (line,) = observed.events("request_finished", request_id="order-78")
    assert (line["process"], line["worker"], line["attempts"]) == ("front", "target-0", 1)
    assert (line["search"], line["verification"], line["passes"]) == ("beam", "strict", final.passes)
    wait_until(lambda: observed.events("search_finished", request_id="order-78"), 5)
    (searched,) = observed.events("search_finished", request_id="order-78")
    assert (searched["process"], searched["passes"]) == ("target-0", final.passes)
    drafted = observed.events("draft_finished", request_id="order-78")
    assert drafted
    assert {each["process"] for each in drafted} == {"draft"}


def test_a_refused_request_has_one_line_that_says_why(observed, connect, wait_until):
    error = connect(observed).error(history=pb.ItemHistory(item_ids=["nobody"]))
    request_id = dict(error.trailing_metadata())["x-request-id"]
    wait_until(lambda: observed.events("request_finished", request_id=request_id), 5)
    (line,) = observed.events("request_finished", request_id=request_id)
    assert line["code"] == "INVALID_ARGUMENT"
    assert "'nobody'" in line["reason"]


def test_without_metrics_there_is_one_port(sidecar):
    sockets = psutil.Process(sidecar.process.pid).net_connections("inet")
    listening = [f"127.0.0.1:{each.laddr.port}" for each in sockets if each.status == psutil.CONN_LISTEN]
    assert listening == [sidecar.address]


def test_what_is_not_asked_for_is_not_loaded():
    """Metrics over HTTP and traces cost memory and start-up time only where they are switched on."""
    script = (
        "import sys, sidebeam.server.application\n"
        "heavy = ('prometheus_client', 'opentelemetry', 'torch')\n"
        "print([name for name in sys.modules if name.startswith(heavy)])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_metrics_address_in_use_ends_with_code_2(tiny_bundle, launch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        one = launch(tiny_bundle, "--metrics", address)
        assert one.wait() == 2
    assert one.lines[-1] == f"sidebeam serve: cannot serve metrics on {address}: Address already in use"


def test_a_metrics_address_that_is_none_ends_with_code_2(tiny_bundle, launch):
    one = launch(tiny_bundle, "--metrics", "9464")
    assert one.wait() == 2
    assert "telemetry.listen must be HOST:PORT, such as 127.0.0.1:9464; given '9464'" in one.lines[-1]
