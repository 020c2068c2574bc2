"""The report in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sidebeam.load.findings import sentences
from sidebeam.load.report import Report
from sidebeam.load.summary import EVENTS

COLUMNS = ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "p99_9_ms", "max_ms")


def show(report: Report, console: Console) -> None:
    """Print it: what was counted, how long it took, what failed, and what to make of it."""
    console.print(_counts(report))
    console.print(_times(report))
    if any(summary.errors for summary in report.summaries):
        console.print(_errors(report))
    if any(summary.groups for summary in report.summaries):
        console.print(_groups(report))
    for sentence in sentences(report):
        console.print(f"  {escape(sentence.text)}", style={"bad": "bold red", "good": "green"}.get(sentence.tone, ""))
    console.print()


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=True, padding=(0, 1), header_style="dim")
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=i > 0)
    return table


def _counts(report: Report) -> Table:
    table = _table("load", "arrivals", "answered", "failed", "missed", "answered/s", "good", "goodput/s", "client CPU")
    for each in report.summaries:
        good = "-" if each.good_share is None else f"{each.good_share:.1%}"
        counts = (f"{count:,}" for count in (each.arrivals, each.answered, each.failed, each.missed))
        rates = f"{each.answered_rps:.1f}", good, f"{each.goodput_rps:.1f}", f"{each.client.cpu:.0%}"
        table.add_row(each.plan.title, *counts, *rates)
    return table


def _times(report: Report) -> Table:
    table = _table("milliseconds until", "answers", "mean", *(name.removesuffix("_ms") for name in COLUMNS))
    for each in report.summaries:
        if len(report.summaries) > 1:
            table.add_row(f"[bold]{each.plan.title}[/]")
        for event, meaning in EVENTS.items():
            durations = each.latency[event]
            if len(durations):
                figures = durations.figures()
                shown = (f"{figures[name]:,.1f}" for name in ("mean_ms", *COLUMNS))
                table.add_row(f"  {meaning}", f"{len(durations):,}", *shown)
    return table


def _errors(report: Report) -> Table:
    table = _table("failure", "load", "count", "for example")
    for each in report.summaries:
        for error in each.errors:
            kind = f"{error.code} {error.reason}".strip()
            table.add_row(escape(kind), each.plan.title, f"{error.count:,}", escape(error.example[:60]))
    return table


def _groups(report: Report) -> Table:
    table = _table("requests named", "load", "requests", "answered", "p50", "p99")
    for each in report.summaries:
        for group in each.groups:
            p50, p99 = (_ms(group.latency.percentile(percent)) for percent in (50, 99))
            table.add_row(escape(group.name), each.plan.title, f"{group.requests:,}", f"{group.answered:,}", p50, p99)
    return table


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"
