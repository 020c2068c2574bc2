"""The report as one HTML page that asks for nothing: style and drawings are in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib import resources
from typing import Any

from sidebeam.load import plots
from sidebeam.load.distribution import Distribution
from sidebeam.load.findings import sentences
from sidebeam.load.report import Report
from sidebeam.load.summary import EVENTS, Summary
from sidebeam.page.frame import document

Row = Sequence[str]

FIGURES = ("mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "p99_9_ms", "max_ms")


def page(report: Report) -> str:
    """The whole document."""
    style = resources.files("sidebeam.load").joinpath("page.css").read_text(encoding="utf-8")
    told = "".join(f'<li class="{each.tone}">{escape(each.text)}</li>' for each in sentences(report))
    parts = [
        "<h1>Sidebeam load test</h1>",
        f'<p class="meta">{escape(_subtitle(report))}</p>',
        _tiles(report),
        f'<ul class="told">{told}</ul>',
        *_steps(report),
        *_method(report),
    ]
    return document(f"Sidebeam load test of {report.settings['address']}", parts, style)


def _subtitle(report: Report) -> str:
    plan = report.summaries[0].plan
    loop = f"open loop, {plan.arrivals} arrivals" if plan.rate is not None else "closed loop"
    loads = ", ".join(summary.plan.title for summary in report.summaries)
    made = report.scene["made"]
    return (
        f"{report.settings['address']} · {loop} · {loads} · {plan.duration_s:g} s after {plan.warm_up_s:g} s · {made}"
    )


def _tiles(report: Report) -> str:
    best = max(report.summaries, key=lambda summary: summary.goodput_rps)
    shown = report.summaries[0]
    if report.knee is not None:
        held = [each for each in report.summaries if each.plan.rate == report.knee.rate]
        shown = held[0] if held else shown
    at = f", at {shown.plan.title}" if len(report.summaries) > 1 else ""
    answers = shown.latency["answer"]
    tiles = [
        (_ms(answers.percentile(50)), f"p50 of the answer{at}", False),
        (_ms(answers.percentile(99)), f"p99 of the answer{at}", False),
        (f"{best.goodput_rps:,.1f}/s", _goodput(best), False),
    ]
    if report.knee is not None:
        rate = report.knee.rate
        tiles.insert(0, ("none" if rate is None else f"{rate:g}/s", "knee of the sweep", rate is None))
    failed = sum(summary.failed for summary in report.summaries)
    missed = sum(summary.missed for summary in report.summaries)
    arrivals = sum(summary.arrivals for summary in report.summaries)
    tiles.append((f"{failed:,}", f"of {arrivals:,} requests failed; {missed:,} missed", bool(failed + missed)))
    tiles.append(("yes" if report.trusted else "no", "the client itself kept up", not report.trusted))
    drawn = (
        f'<div class="tile{" bad" if bad else ""}"><b>{escape(value)}</b><span>{escape(what)}</span></div>'
        for value, what, bad in tiles
    )
    return f'<div class="tiles">{"".join(drawn)}</div>'


def _goodput(summary: Summary) -> str:
    within = f" within {summary.slo_ms:g} ms" if summary.slo_ms is not None else ""
    return f"answered{within}, of {summary.arrivals / max(summary.window_s, 1e-9):,.1f}/s that arrived"


def _steps(report: Report) -> Iterator[str]:
    if len(report.summaries) == 1:
        yield from _step(report.summaries[0])
        return
    yield "<h2>All rates</h2>"
    yield _charts(plot.figure() for plot in plots.of_sweep(report.summaries, report.knee))
    yield _overview(report.summaries)
    for summary in report.summaries:
        body = "".join(_step(summary))
        yield f"<details><summary>{escape(summary.plan.title)}: all figures</summary>{body}</details>"


def _step(summary: Summary) -> Iterator[str]:
    yield "<h2>Times</h2>"
    yield '<p class="note">Milliseconds from the moment a request was due; of requests that were answered.</p>'
    yield _charts([*(plot.figure() for plot in plots.of_step(summary)), plots.stages(summary)])
    rows = [(meaning, summary.latency[event]) for event, meaning in EVENTS.items()]
    yield _durations("until", rows)
    if summary.groups:
        yield "<h3>By name</h3>"
        yield _durations("requests named", [(group.name, group.latency) for group in summary.groups])
    if summary.errors:
        yield "<h3>Failures</h3>"
        errors = [(each.code, each.reason or "-", f"{each.count:,}", each.example) for each in summary.errors]
        yield _table(("code", "reason", "count", "for example"), errors, left=(0, 1, 3))
    yield "<h3>The slowest requests</h3>"
    slowest = [(each.request_id, f"{each.ms:,.1f}", f"{each.at_s:.2f} s", each.code) for each in summary.slowest]
    yield _table(("request id, as in the server's log", "ms", "due at", "status"), slowest)
    yield "<h3>The client itself</h3>"
    client = summary.client
    lags = [("how late its event loop ran", client.loop_lag)]
    if client.send_lag is not None:
        lags.append(("how late requests were sent", client.send_lag))
    yield f'<p class="note">It kept {client.cpu:.2f} of a core busy.</p>'
    yield _durations("milliseconds", lags)


def _overview(summaries: Sequence[Summary]) -> str:
    rows = []
    for each in summaries:
        answers = each.latency["answer"]
        times = (_ms(answers.percentile(percent)) for percent in (50, 95, 99))
        good = "-" if each.good_share is None else f"{each.good_share:.1%}"
        counts = (f"{each.answered_rps:,.1f}", f"{each.goodput_rps:,.1f}", good, f"{each.failed:,}", f"{each.missed:,}")
        rows.append((each.plan.title, *times, *counts, "yes" if each.client.trusted else "no"))
    heads = ("load", "p50", "p95", "p99", "answered/s", "goodput/s", "good", "failed", "missed", "client kept up")
    return _table(heads, rows)


def _durations(what: str, rows: Iterable[tuple[str, Distribution]]) -> str:
    shown = []
    for name, durations in rows:
        figures = durations.figures()
        cells = ("-" if (value := figures[key]) is None else f"{value:,.2f}" for key in FIGURES)
        shown.append((name, f"{len(durations):,}", *cells))
    heads = [name.removesuffix("_ms").replace("_", ".") for name in FIGURES]
    return _table((what, "count", *heads), shown)


def _table(heads: Row, rows: Iterable[Row], left: Sequence[int] = (0,)) -> str:
    head = "".join(f'<th{_side(i, left)} scope="col">{escape(each)}</th>' for i, each in enumerate(heads))
    body = ""
    for row in rows:
        cells = "".join(f"<td{_side(i, left)}>{escape(each)}</td>" for i, each in enumerate(row) if i)
        body += f'<tr><th scope="row">{escape(row[0])}</th>{cells}</tr>'
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _side(i: int, left: Sequence[int]) -> str:
    return ' class="left"' if i in left else ""


def _charts(figures: Iterable[str]) -> str:
    return f'<div class="charts">{"".join(figures)}</div>'


def _method(report: Report) -> Iterator[str]:
    yield "<h2>How it was measured</h2>"
    yield "<dl>" + "".join(f"<dt>{term}</dt><dd>{meaning}</dd>" for term, meaning in TERMS) + "</dl>"
    entries: list[tuple[str, Any]] = [("run", report.scene["run"])]
    for group in ("versions", "machine"):
        entries += [(f"{group} {name}", value) for name, value in report.scene[group].items()]
    entries += [(f"--{name.replace('_', '-')}", value) for name, value in report.settings.items()]
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(_plain(value))}</dd>" for name, value in entries)
    yield f"<details><summary>Versions, machine and options</summary><dl>{listed}</dl></details>"


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f} ms"


TERMS = (
    ("open loop", "requests are due at times that were drawn before the run, and do not wait for each other's answers"),
    ("closed loop", "each request waits for the answer before it: a slow server is asked less, and looks better"),
    ("due", "when a request should have been sent; latency counts from then, also where the client was late"),
    ("missed", "due while as many requests were under way as --max-in-flight allows, and so never sent"),
    ("failed", "ended without an answer: by its deadline, --timeout-ms from the sending, or an error of the server"),
    ("goodput", "answers within --slo-ms of when they were due, or all answers where none is set"),
    (
        "knee",
        "the highest rate of a sweep at which, as at all rates below it, 99 % of the arrivals are answered within the "
        "SLO; without one, are answered with a p95 of at most three times that of the lowest rate",
    ),
    (
        "the client kept up",
        "its event loop and its sending were late by no more than 1 ms at p50 and 5 ms at p99, or a tenth of the "
        "latency there if that is more, and it kept at most 0.9 of a core busy",
    ),
)
