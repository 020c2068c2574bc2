"""What a report says in sentences, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sidebeam.load.report import Report
from sidebeam.load.summary import Summary

FEW_ANSWERS = 1000  # below so many, one request in a hundred is a handful


@dataclass(frozen=True, slots=True)
class Sentence:
    """`tone` is "bad" for what spoils or fails the run, "good" for what passed."""

    text: str
    tone: Literal["bad", "good", ""] = ""


def sentences(report: Report) -> list[Sentence]:
    """What to make of the report, what spoils it first."""
    return [*_spoiled(report), *_verdicts(report), *_told(report)]


def _spoiled(report: Report) -> Iterator[Sentence]:
    if report.interrupted:
        last = report.summaries[-1]
        yield Sentence(
            f"Interrupted: {last.plan.title} measured for {last.window_s:.1f} of {last.plan.duration_s:g} s; "
            f"{last.unfinished} requests that were under way are left out.",
            "bad",
        )
    for summary in report.summaries:
        if not summary.client.trusted:
            reasons = "; ".join(summary.client.reasons)
            yield Sentence(
                f"Do not trust the figures of {summary.plan.title}: the client itself was the bottleneck: {reasons}.",
                "bad",
            )
        if summary.answered == 0:
            yield Sentence(f"No request of {summary.plan.title} was answered.", "bad")


def _verdicts(report: Report) -> Iterator[Sentence]:
    for verdict in report.verdicts:
        yield Sentence(f"{verdict}.", "bad" if verdict.broken else "good")


def _told(report: Report) -> Iterator[Sentence]:
    if report.knee is not None:
        yield Sentence(str(report.knee))
        best = max(report.summaries, key=lambda summary: summary.goodput_rps)
        within = f" within {best.slo_ms:g} ms" if best.slo_ms is not None else ""
        yield Sentence(f"The best goodput was {best.goodput_rps:.1f} answers/s{within}, at {best.plan.title}.")
    for summary in report.summaries:
        yield from _of_step(summary)
    few = [summary.answered for summary in report.summaries if 0 < summary.answered < FEW_ANSWERS]
    if few:
        yield Sentence(
            f"With {min(few)} answers at a rate, p99 rests on the slowest {-(-min(few) // 100)}; measure longer."
        )
    if report.trusted:
        yield Sentence("The client kept up: its own delays are small beside what was measured.", "good")


def _of_step(summary: Summary) -> Iterator[Sentence]:
    title = summary.plan.title
    if summary.missed:
        yield Sentence(
            f"{title}: {summary.missed:,} arrivals were missed, because {summary.plan.max_in_flight:,} requests "
            "(--max-in-flight) were under way already."
        )
    if summary.cut_short:
        yield Sentence(f"{title}: {summary.cut_short:,} answers were cut short by their deadline.")
    unanswered = summary.arrivals - summary.answered
    if summary.answered and unanswered:
        share = unanswered / summary.arrivals
        yield Sentence(f"{title}: times are of answers only; {share:.1%} of the arrivals got none.")
