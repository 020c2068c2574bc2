"""Code, page, dashboard and alerts speak of the same metrics."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from sidebeam.telemetry.metric import METRICS

FOLDER = Path(__file__).parents[2] / "deploy" / "monitoring"
NAMES = {each.name: each for each in METRICS}
SUFFIXES = ("_bucket", "_sum", "_count")


def named(text: str) -> set[str]:
    """The metrics that a query or a page names; a histogram's series count as the histogram."""
    found = set()
    for word in re.findall(r"\bsidebeam_[a-z0-9_]+", text):
        base = next((word.removesuffix(end) for end in SUFFIXES if word.endswith(end)), word)
        found.add(base if base in NAMES and NAMES[base].kind == "histogram" else word)
    return found


def dashboard_queries() -> list[str]:
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


def rules() -> list[dict[str, str]]:
    return [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]


def test_the_page_explains_every_metric_and_no_other() -> None:
    rows = re.findall(r"^\| `(sidebeam_\w+)` \| (\w+) \|([^|]*)\|", (FOLDER / "README.md").read_text(), re.MULTILINE)
    told = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert told == {each.name: (each.kind, each.labels) for each in METRICS}


def test_the_dashboard_shows_every_metric() -> None:
    assert set().union(*map(named, dashboard_queries())) == NAMES.keys()


def test_alerts_name_only_metrics_there_are() -> None:
    for rule in rules():
        assert named(rule["expr"]) <= NAMES.keys(), rule["alert"]


def test_queries_use_only_labels_there_are() -> None:
    labels = {label for each in METRICS for label in each.labels} | {"le", "instance", "job"}
    for query in [*dashboard_queries(), *(rule["expr"] for rule in rules())]:
        used = {label for group in re.findall(r"\bby \(([^)]*)\)", query) for label in group.split(", ")}
        used |= set(re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", query))
        assert used <= labels, query


def test_every_alert_is_raised_by_the_rule_tests() -> None:
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    raised = {
        alert
        for test in tests
        for check in test["promql_expr_test"]
        for sample in check["exp_samples"]
        for alert in re.findall(r'alertname="(\w+)"', sample["labels"])
    }
    assert raised == {rule["alert"] for rule in rules()}
