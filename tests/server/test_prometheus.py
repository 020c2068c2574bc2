"""A real Prometheus scrapes a real sidecar: every query of the dashboard and of the alerts is asked of it."""

from __future__ import annotations

import json
import math
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import yaml

from sidebeam.v1 import recommendation_pb2 as pb

FOLDER = Path(__file__).parents[2] / "deploy" / "monitoring"
RATE_S = 8  # what the dashboard's $__rate_interval becomes
NEEDED = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="no prometheus on this machine: apt-get install prometheus (.ci/run does, as root)",
)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Prometheus:
    """A server that scrapes one address each second and evaluates our rules."""

    def __init__(self, folder, target):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(FOLDER / "alerts.yml")],
            "scrape_configs": [{"job_name": "sidebeam", "static_configs": [{"targets": [target]}]}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        run("promtool", "check", "config", str(folder / "prometheus.yml"))
        self.url = f"http://{address}"
        self.log = folder / "log"
        command = [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stderr=log)

    def get(self, path, **query):
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        return told["data"]

    def values(self, query):
        """The values of a query's series."""
        return [float(series["value"][1]) for series in self.get("query", query=query)["result"]]

    def has(self, query):
        try:
            return bool(self.values(query))
        except OSError:
            assert self.process.poll() is None, self.log.read_text()
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(scope="module")
def observed(both_bundle, start, wait_until, tmp_path_factory):
    flags = ("--metrics", "127.0.0.1:0", "--pools", str(tmp_path_factory.mktemp("pools") / "pools"))
    with start(both_bundle, *flags, draft__provisional="always", draft__first_wait_ms=10_000) as one:
        wait_until(lambda: one.events("worker_up", worker="draft"), 90)
        yield one


@pytest.fixture(scope="module")
def prometheus(observed, tmp_path_factory, wait_until):
    one = Prometheus(tmp_path_factory.mktemp("prometheus"), observed.events("metrics_listening")[0]["address"])
    try:
        wait_until(lambda: one.has("sidebeam_serving == 1"), 60)
        yield one
    finally:
        one.stop()


def traffic(caller, seconds):
    """Requests of every kind, good and bad, for some seconds; and texts, drafted from those learned before."""
    explicit = pb.DraftSettings(mode=pb.DRAFT_MODE_EXPLICIT, beams=8, length=3)
    kinds = (
        {"draft": explicit},
        {"search": pb.SEARCH_EXACT},
        {"verification": pb.VERIFICATION_RELAXED},
        {"draft": explicit, "final_only": True},
        {"top_k": 0},
    )
    end = time.monotonic() + seconds

    def keep_asking(kind):
        asked = 0
        while time.monotonic() < end:
            try:
                caller.events(history=pb.ItemHistory(item_ids=[f"i{asked % 60}"]), **kind)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
                    raise
                time.sleep(0.02)
            asked += 1
        return asked

    def keep_telling():
        while time.monotonic() < end:
            caller.text(prompt="<a_1><b_2>", entity_id="u1", group="g1", learn=True)

    with ThreadPoolExecutor(len(kinds) + 1) as pool:
        told = pool.submit(keep_telling)
        assert min(pool.map(keep_asking, kinds)) > 0
        told.result()


def panels():
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


@NEEDED
@pytest.mark.slow
def test_every_panel_has_data_after_traffic(prometheus, observed, connect):
    traffic(connect(observed), RATE_S + 4)
    empty = []
    for panel in panels():
        for target in panel["targets"]:
            query = target["expr"].replace("$instance", ".*").replace("$__rate_interval", f"{RATE_S}s")
            assert "$" not in query
            values = prometheus.values(query)
            if not values or not all(map(math.isfinite, values)):
                empty.append((panel["title"], query, values))
    assert empty == []


@NEEDED
@pytest.mark.slow
def test_what_the_panels_show_is_true(prometheus, observed, connect, wait_until):
    """Totals of the whole run, as Prometheus stored them, equal what the sidecar says of itself."""
    from sidebeam.v1 import status_pb2, status_pb2_grpc

    traffic(connect(observed), 2)
    with grpc.insecure_channel(observed.address) as channel:
        told = status_pb2_grpc.StatusServiceStub(channel).GetStatus(status_pb2.GetStatusRequest(), timeout=5)
    ok = told.load.requests_by_code["OK"]
    wait_until(lambda: prometheus.values('sum(sidebeam_requests_total{code="OK"})') == [ok], 10)
    assert prometheus.values("sum(sidebeam_request_duration_seconds_count)") == [ok]
    assert prometheus.values("sum(sidebeam_drafted_tokens_total)") == [sum(told.drafts.drafted_by_depth)]
    asked = prometheus.get("query", query='sidebeam_requests_total{code="OK"} > 0')["result"]
    kinds = {(series["metric"].get("search"), series["metric"]["verification"]) for series in asked}
    assert kinds == {("beam", "strict"), ("exact", "strict"), ("beam", "relaxed"), (None, "exact")}  # None: texts


@NEEDED
@pytest.mark.slow
def test_every_alert_evaluates(prometheus, wait_until):
    names = {
        rule["alert"]
        for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
        for rule in group["rules"]
    }

    def rules():
        return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]

    wait_until(lambda: all(rule["health"] != "unknown" for rule in rules()), 20)
    assert {rule["name"] for rule in rules()} == names
    assert [rule["name"] for rule in rules() if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in rules() if rule["state"] == "firing"] == []


@NEEDED
def test_promtool_finds_no_fault_with_the_rules():
    assert "SUCCESS" in run("promtool", "check", "rules", str(FOLDER / "alerts.yml"))


@NEEDED
def test_each_alert_is_raised_by_its_trouble_alone():
    assert "SUCCESS" in run("promtool", "test", "rules", str(FOLDER / "alerts_test.yml"))
