"""What a terminal shows of an evaluation."""

from __future__ import annotations

from sidebeam.evaluation.findings import Findings
from sidebeam.report.wording import number, ratio, share, together


def tables(findings: Findings) -> str:
    """Costs by width, then quality, as plain text."""
    return "\n".join([*_costs(findings), "", *_quality(findings)])


def _costs(findings: Findings) -> list[str]:
    wide = max(len(name.label) for name in findings.arms)
    lines = [
        f"{'K':>4} {'arm':<{wide}} {'mean ms':>8} {'vs off':>8} {'vs generate':>11} {'passes':>7} {'rows':>7} "
        f"{'depths/pass':>11} {'identical':>9} {'overlap':>8}"
    ]
    for k in findings.widths:
        lines += [
            f"{k:>4} {cost.arm.label:<{wide}} {number(cost.ms, 1):>8} {ratio(cost.over_off):>8} "
            f"{ratio(cost.over_generate):>11} {number(cost.passes):>7} {number(cost.rows, 1):>7} "
            f"{number(cost.depth_per_pass):>11} {share(cost.identical):>9} {share(cost.overlap):>8}"
            for cost in findings.costs
            if cost.top_k == k
        ]
    return lines


def _quality(findings: Findings) -> list[str]:
    """Arms with the same figures share a line."""
    rows = findings.qualities(findings.widths[-1])
    wide = max(len(together(names)) for names, _ in rows)
    heads = [f"{metric}@{n}" for metric in ("Recall", "NDCG") for n in findings.widths]
    lines = [
        f"Quality within lists of {findings.widths[-1]}, in percent",
        f"{'arm':<{wide}} " + " ".join(f"{head:>9}" for head in heads),
    ]
    for names, found in rows:
        figures = [quality.recall for quality in found] + [quality.ndcg for quality in found]
        lines.append(f"{together(names):<{wide}} " + " ".join(f"{100 * each.value:>9.2f}" for each in figures))
    return lines
