"""The tables of an evaluation's page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from sidebeam.evaluation.findings import Cost, Findings
from sidebeam.evaluation.interval import Estimate
from sidebeam.report.wording import NOTHING, interval, number, ratio, share, together

METRICS = {"recall": "Recall", "ndcg": "NDCG"}


def times(findings: Findings) -> str:
    """A row for each width and arm, a body for each width."""
    return _by_width(findings, ["mean ms", "median ms", "p90 ms", "speed over off", "speed over generate"], _times)


def passes(findings: Findings) -> str:
    """The same for what the time goes into."""
    heads = ["passes", "rows", "rows per pass", "depths per pass", "accepted steps", "identical", "overlap"]
    return _by_width(findings, heads, _passes)


def quality(findings: Findings, list_length: int | None) -> str:
    """Recall and NDCG in percent, within lists of that length or, None, of each K; equal arms share a row."""
    bodies: list[list[list[str]]] = [[], []]
    for names, found in findings.qualities(list_length):
        for body, metric in zip(bodies, METRICS, strict=True):
            figures = [getattr(each, metric) for each in found]
            cells = [_cell(f"{100 * each.value:.2f}", interval(each, 100)) for each in figures]
            body.append([_left(METRICS[metric]), _head(together(names)), *cells])
    return _table(["", "arm", *(f"@{n}" for n in findings.widths)], bodies)


def sampled_quality(findings: Findings) -> str:
    """How drafts change what sampling finds: ratios to sampling without, in the lists of the greatest width."""
    bodies: list[list[list[str]]] = [[], []]
    for name in findings.arms:
        if name.verification == "relaxed" and name != name.off:
            found = [findings.quality_of(name, n, findings.widths[-1]) for n in findings.widths]
            for body, metric in zip(bodies, METRICS, strict=True):
                over = [None if each is None else getattr(each, f"{metric}_over_off") for each in found]
                cells = [_cell(ratio(each), interval(each)) for each in over]
                body.append([_left(METRICS[metric]), _head(name.label), *cells])
    return _table(["", "arm", *(f"@{n}" for n in findings.widths)], bodies)


def depths(findings: Findings) -> str:
    """A row for each width, arm that drafts, and depth."""
    bodies = []
    for k in findings.widths:
        body = []
        for cost in (cost for cost in findings.costs if cost.top_k == k and cost.arm.draft != "off"):
            for at in cost.by_depth:
                figures = [_number(at.drafted, 1), _number(at.needed, 1), _share(at.useful), _share(at.covered)]
                body.append([_text(str(k)), _head(cost.arm.label), _text(str(at.depth)), *figures, _share(at.whole)])
        bodies.append(body)
    return _table(["K", "arm", "depth", "drafted", "needed", "needed / drafted", "covered", "whole"], bodies)


def _by_width(findings: Findings, heads: Sequence[str], cells: Callable[[Cost], list[str]]) -> str:
    bodies = [
        [[_text(str(k)), _head(cost.arm.label), *cells(cost)] for cost in findings.costs if cost.top_k == k]
        for k in findings.widths
    ]
    return _table(["K", "arm", *heads], bodies)


def _times(cost: Cost) -> list[str]:
    return [
        _number(cost.ms, 1),
        _text(f"{cost.median_ms:,.1f}"),
        _text(f"{cost.p90_ms:,.1f}"),
        _cell(ratio(cost.over_off), interval(cost.over_off)),
        _cell(ratio(cost.over_generate), interval(cost.over_generate)),
    ]


def _passes(cost: Cost) -> list[str]:
    return [
        _number(cost.passes),
        _number(cost.rows, 1),
        _number(cost.rows_per_pass, 1),
        _number(cost.depth_per_pass),
        _number(cost.accepted_steps),
        _share(cost.identical),
        _share(cost.overlap),
    ]


def _table(heads: Sequence[str], bodies: Sequence[Sequence[Sequence[str]]]) -> str:
    head = "".join(f'<th scope="col"{" class=left" if text == "arm" else ""}>{escape(text)}</th>' for text in heads)
    shown = ("".join(f"<tr>{''.join(row)}</tr>" for row in body) for body in bodies if body)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        + "".join(f"<tbody>{rows}</tbody>" for rows in shown)
        + "</table></div>"
    )


def _head(text: str) -> str:
    return f'<th scope="row">{escape(text)}</th>'


def _left(text: str) -> str:
    return f'<td class="left">{escape(text)}</td>'


def _text(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def _number(estimate: Estimate | None, digits: int = 2) -> str:
    return _cell(number(estimate, digits), interval(estimate, digits=digits))


def _share(estimate: Estimate | None) -> str:
    return _cell(share(estimate), interval(estimate, 100, 1))


def _cell(value: str, within: str) -> str:
    small = "" if value == NOTHING else f"<small>{within}</small>"
    return f"<td>{value}{small}</td>"
