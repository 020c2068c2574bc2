"""Faults in figures: as JSON, and as the table a person reads."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sidebeam.load.distribution import Distribution
from sidebeam.resilience.open_load import HUNG, RIGHT, WRONG, Outcome

if TYPE_CHECKING:
    from sidebeam.resilience.fault_bench import Plan, Trial

# What a sidecar may say when it cannot answer; any other code tells of an error of its own.
CLEAN = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"})


def as_json(trials: Sequence[Trial], plan: Plan) -> dict[str, Any]:
    """All figures; `passed` says whether nothing was wrong, lost, hung, or left behind."""
    rows = [_row(trial) for trial in trials]
    return {
        "schema": 1,
        "rate": plan.rate,
        "top_k": plan.top_k,
        "deadline_s": plan.deadline_s,
        "retries": plan.retries,
        "times": plan.times,
        "seed": plan.seed,
        "passed": not any(row["at_fault"] for row in rows),
        "rows": rows,
    }


def report(result: dict[str, Any]) -> str:
    """The table, and below it what is at fault."""
    lines = [
        f"{result['rate']:g} requests/s in an open loop, K = {result['top_k']}, deadline {result['deadline_s']:g} s, "
        f"{result['retries']} retries; each fault {result['times']} times",
        f"  {'fault':<17} {'done':>4} {'sent':>6} {'right':>6} {'wrong':>5} {'hung':>4}  {'p50, p99 ms':>15}  "
        f"{'in calm':>13}  {'recovery s':>12}  clean errors",
    ]
    for row in result["rows"]:
        if row["left_out"]:
            lines.append(f"  {row['fault']:<17} left out: {row['left_out']}")
            continue
        errors = ", ".join(f"{code} {count}" for code, count in row["errors"].items()) or "none"
        during, calm = (_span(row[name], "p50_ms", "p99_ms", 0) for name in ("during", "calm"))
        recovery = _span(row["recovery_s"], "median", "worst", 1)
        lines.append(
            f"  {row['fault']:<17} {row['done']:>4} {row['sent']:>6} {row['right']:>6} {row['wrong']:>5} "
            f"{row['hung']:>4}  {during:>15}  {calm:>13}  {recovery:>12}  {errors}"
        )
    lines.append(
        "  p50 and p99 of answers that were due, or under way, between fault and recovery; recovery median, worst"
    )
    for row in result["rows"]:
        lines += [f"  {row['fault']}: {problem}" for problem in row["at_fault"]]
        lines += [
            f"  {row['fault']}: times not to be trusted, the client was late: {why}" for why in row["client_late"]
        ]
    lines.append("  nothing wrong, lost or hung" if result["passed"] else "  NOT as it should be: see above")
    return "\n".join(lines)


def _row(trial: Trial) -> dict[str, Any]:
    words = Counter(each.word for each in trial.outcomes)
    errors = {code: count for code, count in words.most_common() if code not in (RIGHT, WRONG, HUNG)}
    during = [each for each in trial.outcomes if _meets(each, trial.windows)]
    calm = [each for each in trial.outcomes if not _meets(each, trial.windows)]
    recoveries = trial.recoveries_s
    return {
        "fault": trial.fault.name,
        "what": trial.fault.told,
        "left_out": trial.left_out,
        "done": len(recoveries),
        "sent": len(trial.outcomes),
        "right": words[RIGHT],
        "wrong": words[WRONG],
        "hung": words[HUNG],
        "errors": errors,
        "cut_off": trial.cut_off,
        "during": _latency(during),
        "calm": _latency(calm),
        "recovery_s": {"median": statistics.median(recoveries), "worst": max(recoveries)} if recoveries else {},
        "client_late": [] if trial.client is None else list(trial.client.reasons),
        "at_fault": _problems(trial, words, errors),
    }


def _problems(trial: Trial, words: Counter[str], errors: dict[str, int]) -> list[str]:
    unclean = {code: count for code, count in errors.items() if code not in CLEAN}
    found = [
        (words[WRONG], f"{words[WRONG]} wrong answers"),
        (words[HUNG], f"{words[HUNG]} requests without an outcome"),
        (unclean, f"errors that no caller should see: {unclean}"),
        (trial.fault.harmless and errors, f"cost answers, and should have cost none: {errors}"),
        (trial.cut_off, f"{trial.cut_off} requests were inside and got no answer"),
        (trial.unrecovered, trial.unrecovered),
        (trial.left_behind, f"{trial.left_behind} processes left behind"),
        (trial.bad_ends, f"{trial.bad_ends} sidecars ended with another exit code than 0"),
    ]
    return [text for is_so, text in found if is_so]


def _meets(outcome: Outcome, windows: Sequence[tuple[float, float]]) -> bool:
    return any(outcome.intended <= recovered and outcome.ended >= struck for struck, recovered in windows)


def _latency(outcomes: Sequence[Outcome]) -> dict[str, float | int | None]:
    took = Distribution.of((each.ended - each.intended) * 1e3 for each in outcomes if each.word == RIGHT)
    return {"answers": len(took), "p50_ms": took.percentile(50), "p99_ms": took.percentile(99)}


def _span(figures: dict[str, Any], low: str, high: str, digits: int) -> str:
    if figures.get(low) is None:
        return "-"
    return f"{figures[low]:.{digits}f}, {figures[high]:.{digits}f}"
