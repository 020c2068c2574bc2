"""Which figures an evaluation's page draws, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sidebeam.evaluation.arm_name import BASELINES, GENERATE, ArmName
from sidebeam.evaluation.findings import Cost, Findings
from sidebeam.evaluation.interval import Estimate
from sidebeam.report.chart import Chart, Line

FIXED = {
    "generate": 0,
    "off": 1,
    "auto": 2,
    "catalog": 3,
    "neighbours": 8,
    "popularity": 9,
}
"""Styles; models take those from `FIRST_MODEL` on."""

FIRST_MODEL, MODELS = 4, 4

Pick = Callable[[Cost], Estimate | None]


def speed(findings: Findings) -> list[Chart]:
    """Time, times as fast as no drafts, and passes, by K."""
    ours = [name for name in findings.arms if name != GENERATE]
    drafted = [name for name in ours if name.draft != "off"]
    charts = [
        _by_k(findings, "Mean time of a request", findings.arms, lambda cost: cost.ms, unit=" ms"),
        _by_k(findings, "Target passes of a request", ours, lambda cost: cost.passes),
    ]
    if drafted:
        title = "Times as fast as no drafts, same verification"
        over = _by_k(findings, title, drafted, lambda cost: cost.over_off, unit="x", reference=1.0)
        charts.insert(1, over)
    if GENERATE in findings.arms:
        title = "Times as fast as generate"
        charts.append(_by_k(findings, title, ours, lambda cost: cost.over_generate, unit="x", reference=1.0))
    return charts


def acceptance(findings: Findings) -> list[Chart]:
    """Share of the beams of each depth that had been drafted, a chart for each K."""
    return [
        Chart(
            title=f"K = {k}",
            x_title="depth",
            ticks=tuple(str(depth.depth) for depth in drafted[0].by_depth),
            lines=tuple(_covered(findings, cost) for cost in drafted),
            unit="%",
            factor=100,
            reference=100,
            named=False,
            width=340,
            height=240,
        )
        for k in findings.widths
        if (
            drafted := [
                cost for cost in findings.costs if cost.top_k == k and cost.arm.draft != "off" and cost.by_depth
            ]
        )
    ]


def quality(findings: Findings) -> list[Chart]:
    """Recall and NDCG by K, each within lists of that length. Drafts that change nothing share the line of off."""

    def figures(name: ArmName) -> list[tuple[Estimate, Estimate]]:
        each = [findings.quality_of(name, k, k) for k in findings.widths]
        return [(quality.recall, quality.ndcg) for quality in each if quality is not None]

    ours = [name for name in findings.arms if name.verification]
    names = [*BASELINES, *(name for name in ours if name == name.off or figures(name) != figures(name.off))]

    def drawn(title: str, metric: str) -> Chart:
        lines = []
        for name in names:
            each = [(tick, findings.quality_of(name, k, k)) for tick, k in enumerate(findings.widths)]
            points = tuple((tick, getattr(quality, metric)) for tick, quality in each if quality is not None)
            lines.append(_line(findings, name, points))
        return Chart(title, "K", tuple(map(str, findings.widths)), tuple(lines), "%", 100)

    return [drawn("Recall@K", "recall"), drawn("NDCG@K", "ndcg")]


def style(findings: Findings, name: ArmName) -> int:
    """The style of a draft, whatever the verification."""
    if name.draft in FIXED:
        return FIXED[name.draft]
    models = list(dict.fromkeys(arm.draft for arm in findings.arms if arm.draft not in FIXED))
    return FIRST_MODEL + models.index(name.draft) % MODELS


def _by_k(
    findings: Findings,
    title: str,
    names: Iterable[ArmName],
    pick: Pick,
    unit: str = "",
    reference: float | None = None,
) -> Chart:
    lines = []
    for name in names:
        points = []
        for tick, k in enumerate(findings.widths):
            cost = findings.cost(name, k)
            estimate = None if cost is None else pick(cost)
            if estimate is not None:
                points.append((tick, estimate))
        lines.append(_line(findings, name, tuple(points)))
    return Chart(title, "K", tuple(map(str, findings.widths)), tuple(lines), unit, reference=reference)


def _covered(findings: Findings, cost: Cost) -> Line:
    points = tuple((tick, depth.covered) for tick, depth in enumerate(cost.by_depth))
    return _line(findings, cost.arm, points)


def _line(findings: Findings, name: ArmName, points: tuple[tuple[int, Estimate], ...]) -> Line:
    """The verification is named where there are two."""
    verifications = {arm.verification for arm in findings.arms if arm.verification}
    shown = name.label if len(verifications) > 1 else name.draft
    return Line(shown, style(findings, name), name.verification == "relaxed", points)
