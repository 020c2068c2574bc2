"""What an evaluation found, in sentences: only what its intervals support."""

from __future__ import annotations

from sidebeam.evaluation.arm_name import GENERATE, NEIGHBOURS, POPULARITY, ArmName
from sidebeam.evaluation.findings import Cost, Findings
from sidebeam.evaluation.interval import Estimate
from sidebeam.evaluation.scene import Scene
from sidebeam.report.wording import interval, number, ratio, share

FEW = 200  # users, with whom intervals are wide
COUNTED = {POPULARITY: "the most popular items", NEIGHBOURS: "the items nearest to theirs in the histories of others"}


def sentences(scene: Scene, findings: Findings) -> list[str]:
    """One thought each, the most important first; all at the greatest width."""
    k = findings.widths[-1]
    verifications = list(dict.fromkeys(arm.verification for arm in findings.arms if arm.verification))
    found = [_quality(findings, ArmName(verifications[0], "off"), k)]
    for verification in verifications:
        costs = [cost for cost in findings.costs if cost.arm.verification == verification]
        at_k = [cost for cost in costs if cost.top_k == k]
        found.append(_speed(at_k, k))
        found.append(_passes(at_k, k))
        found.append(_sameness(costs, verification, scene.users["measured"]))
        if verification == "relaxed":
            found.append(_sampled_quality(findings, k))
    found.append(_generate(findings))
    if scene.users["measured"] < FEW:
        found.append(
            f"Only {scene.users['measured']} users were measured: intervals are wide, and a few users set them."
        )
    return [sentence for sentence in found if sentence]


def _quality(findings: Findings, name: ArmName, k: int) -> str:
    ours = findings.quality_of(name, k, k)
    assert ours is not None
    told = f"Lists of {k} hold {share(ours.recall)} ({interval(ours.recall, 100, 1)}) of what users went on to choose"
    overs = {POPULARITY: ours.recall_over_popularity, NEIGHBOURS: ours.recall_over_neighbours}
    return "; ".join([told, *(_against(findings, baseline, over, k) for baseline, over in overs.items())]) + "."


def _against(findings: Findings, baseline: ArmName, over: Estimate | None, k: int) -> str:
    counted = findings.quality_of(baseline, k, k)
    assert counted is not None
    told = f"{COUNTED[baseline]} {share(counted.recall)} ({interval(counted.recall, 100, 1)})"
    if over is None:
        return told
    told += f": {ratio(over)} as much ({interval(over)})"
    if over.high < 1:
        return f"{told}, the target is worse than counting"
    return told if over.low > 1 else f"{told}, which does not tell the two apart"


def _speed(costs: list[Cost], k: int) -> str:
    drafted = [cost for cost in costs if cost.arm.draft != "off"]
    if not drafted:
        return ""
    best = min(drafted, key=lambda cost: cost.ms.value)
    off, generate = best.over_off, best.over_generate
    assert off is not None
    told = (
        f"At K = {k} the quickest draft is {best.arm.label} with {number(best.ms, 1)} ms a request: {ratio(off)} the "
        f"speed of no drafts ({interval(off)}), {_verdict(off)}"
    )
    return f"{told}; {ratio(generate)} the speed of generate ({interval(generate)})." if generate else f"{told}."


def _verdict(over: Estimate) -> str:
    if over.low > 1:
        return "a gain"
    return "a loss" if over.high < 1 else "no difference that this run can show"


def _passes(costs: list[Cost], k: int) -> str:
    off = next(cost for cost in costs if cost.arm.draft == "off")
    fewest = min(costs, key=lambda cost: cost.passes.value)
    if fewest is off:
        return ""
    return (
        f"At K = {k} the fewest passes are {fewest.arm.label}'s: {number(fewest.passes)} ({interval(fewest.passes)}) "
        f"instead of {number(off.passes)}, with {number(fewest.rows, 0)} rows instead of {number(off.rows, 0)}; every "
        f"pass brings {number(fewest.depth_per_pass)} depths."
    )


def _sameness(costs: list[Cost], verification: str, users: int) -> str:
    judged = [(cost, cost.identical) for cost in costs if cost.identical is not None]
    if not judged:
        return ""
    same = round(sum(identical.value * users for _, identical in judged))
    total = users * len(judged)
    plain = "plain search" if verification == "strict" else "sampling without drafts under the same seed"
    if same == total:
        return f"Under {verification} verification all {total:,} answers with drafts are those of {plain}."
    worst, share_of_worst = min(judged, key=lambda pair: pair[1].value)
    return (
        f"Under {verification} verification {total - same:,} of {total:,} answers with drafts differ from {plain}'s, "
        f"most by {worst.arm.label} at K = {worst.top_k}, where {share(share_of_worst, 2)} are identical."
    )


def _sampled_quality(findings: Findings, k: int) -> str:
    """Drafts must not bend what sampling finds."""
    relaxed = [
        each
        for each in findings.quality
        if each.arm.verification == "relaxed" and (each.n, each.list_length) == (k, k) and each.recall_over_off
    ]
    if not relaxed:
        return ""
    told = ", ".join(
        f"{each.arm.draft} {ratio(each.recall_over_off)} ({interval(each.recall_over_off)})" for each in relaxed
    )
    return f"Recall@{k} of sampling with drafts over sampling without: {told}."


def _generate(findings: Findings) -> str:
    shares = [cost.identical for cost in findings.costs if cost.arm == GENERATE and cost.identical is not None]
    if not shares:
        return ""
    same = sum(estimate.value for estimate in shares) / len(shares)
    return (
        f"Plain search answers as transformers generate does in {share(Estimate(same, same, same), 2)} of all requests."
    )
