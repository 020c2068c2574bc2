"""The report as JSON, for scripts."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from sidebeam.load.distribution import Distribution
from sidebeam.load.report import Report
from sidebeam.load.summary import Summary

SCHEMA = 1  # raised when a field changes its meaning or goes


def document(report: Report) -> str:
    """The whole report, without the single requests."""
    content = {
        "schema": SCHEMA,
        "kind": "sidebeam load",
        **report.scene,
        "settings": report.settings,
        "interrupted": report.interrupted,
        "trusted": report.trusted,
        "knee": None if report.knee is None else dataclasses.asdict(report.knee) | {"text": str(report.knee)},
        "rules": [
            {"rule": each.rule.text, "step": each.step, "value": each.value, "broken": each.broken}
            for each in report.verdicts
        ],
        "steps": [{"began": began} | _step(each) for began, each in zip(report.began, report.summaries, strict=True)],
    }
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _step(summary: Summary) -> dict[str, Any]:
    client = summary.client
    return {
        "rate": summary.plan.rate,
        "concurrency": summary.plan.concurrency,
        "window_s": round(summary.window_s, 3),
        "arrivals": summary.arrivals,
        "answered": summary.answered,
        "cut_short": summary.cut_short,
        "failed": summary.failed,
        "missed": summary.missed,
        "unfinished": summary.unfinished,
        "answered_rps": round(summary.answered_rps, 3),
        "goodput": summary.goodput,
        "goodput_rps": round(summary.goodput_rps, 3),
        "good_share": summary.good_share,
        "latency": {event: _figures(durations) for event, durations in summary.latency.items()},
        "server_stages": {stage: _figures(durations) for stage, durations in summary.stages.items()},
        "errors": [dataclasses.asdict(each) for each in summary.errors],
        "groups": [
            {"name": each.name, "requests": each.requests, "answered": each.answered, "latency": _figures(each.latency)}
            for each in summary.groups
        ],
        "slowest": [dataclasses.asdict(each) for each in summary.slowest],
        "client": {
            "trusted": client.trusted,
            "reasons": list(client.reasons),
            "cpu": round(client.cpu, 3),
            "loop_lag": _figures(client.loop_lag),
            "send_lag": None if client.send_lag is None else _figures(client.send_lag),
        },
        "timeline": {
            "width_s": summary.timeline.width_s,
            "bins": [_rounded(dataclasses.asdict(each)) for each in summary.timeline.bins],
        },
    }


def _figures(durations: Distribution) -> dict[str, float | int | None]:
    return _rounded(durations.figures())


def _rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}
