"""Overload in figures: as JSON, and as the table a person reads."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sidebeam.load.distribution import Distribution
from sidebeam.load.summary import Summary
from sidebeam.resilience.overload_course import Course, Plan

LEAST_GOODPUT = 0.9  # of the sweep's best
MOST_SLOWER = 2.0  # times the p99 at half capacity
MOST_GROWTH_MIB = 48.0  # of each process: what an allocator keeps, and no leak of a request's own size


def as_json(course: Course, plan: Plan) -> dict[str, Any]:
    """All figures; `goals` says of each what it should be, what it is, and whether that will do."""
    assert course.half is not None
    assert course.over is not None
    assert course.after is not None
    half, over = _step(course.half), _step(course.over)
    after = course.after
    growth = {name: after.resident_mib[name] - mib for name, mib in course.before.resident_mib.items()}
    files = {name: after.open_files[name] - count for name, count in course.before.open_files.items()}
    share = course.over.goodput_rps / course.capacity
    slower = over["admitted_p99_ms"] / half["admitted_p99_ms"] if half["admitted_p99_ms"] else None
    goals = [
        _goal("goodput, of the sweep's best", f"at least {LEAST_GOODPUT:.0%}", f"{share:.1%}", share >= LEAST_GOODPUT),
        _goal(
            "p99 of what was let in, over that at half capacity",
            f"at most {MOST_SLOWER:g}x",
            "-" if slower is None else f"{slower:.2f}x",
            slower is not None and slower <= MOST_SLOWER,
        ),
        _goal(
            f"memory over {course.sent:,} requests",
            f"at most {MOST_GROWTH_MIB:g} MiB more",
            ", ".join(f"{name} {mib:+.0f}" for name, mib in growth.items()),
            max(growth.values()) <= MOST_GROWTH_MIB,
        ),
        _goal(
            "file descriptors",
            "as before",
            ", ".join(f"{name} {count:+d}" for name, count in files.items()),
            max(files.values()) <= 0,
        ),
        _goal("KV slots in use", str(course.before.slots), str(after.slots), after.slots == course.before.slots),
    ]
    return {
        "schema": 1,
        "top_k": plan.top_k,
        "seed": plan.seed,
        "deadline_ms": course.deadline_ms,
        "alone_p50_ms": course.alone.latency["answer"].percentile(50),
        "capacity_rps": course.capacity,
        "requests": course.sent,
        "sweep": [_step(step) for step in course.sweep],
        "half": half,
        "over": over,
        "goodput_share": share,
        "cores": course.cores,
        "p99_ratio": slower,
        "before": asdict(course.before),
        "after": asdict(after),
        "goals": goals,
        "passed": all(goal["met"] for goal in goals),
    }


def report(result: dict[str, Any]) -> str:
    """The tables a person reads."""
    lines = [
        f"K = {result['top_k']}, deadline {result['deadline_ms']:g} ms; alone an answer takes "
        f"{result['alone_p50_ms']:.0f} ms; {result['requests']:,} requests in all",
        "  requests/s     for s  goodput/s  good  let in: p50, p99 ms  refused or late",
    ]
    for name, step in [*(("", step) for step in result["sweep"]), ("half", result["half"]), ("3x", result["over"])]:
        errors = ", ".join(f"{each['count']} {each['reason'] or each['code']}" for each in step["errors"]) or "none"
        p50, p99 = (_ms(step[f"admitted_{figure}_ms"]) for figure in ("p50", "p99"))
        lines.append(
            f"  {step['rate']:>7.1f} {name:>5} {step['seconds']:>6.3g} {step['goodput_rps']:>10.1f} "
            f"{step['good_share']:>5.0%}  {p50:>9}, {p99:>8}  {errors}"
        )
    for name, label in (("alone", "alone"), ("half", "half"), ("over", "3x")):
        told = ", ".join(f"{process} {cores:.2f}" for process, cores in result["cores"].get(name, {}).items())
        lines.append(f"  cores kept busy, {label + ':':<6} {told}")
    width = max(len(goal["what"]) for goal in result["goals"])
    for goal in result["goals"]:
        verdict = "met" if goal["met"] else "MISSED"
        lines.append(f"  {goal['what']:<{width}}  {goal['should']:<22} {goal['is']:<28} {verdict}")
    for name in ("half", "over"):
        lines += [f"  {name}: times not to be trusted, the client was late: {why}" for why in result[name]["late"]]
    return "\n".join(lines)


def _step(step: Summary) -> dict[str, Any]:
    """`admitted_*` are over answers and over what was let in and then missed its deadline, which is its time."""
    late = sum(each.count for each in step.errors if each.code == "DEADLINE_EXCEEDED" and not each.reason)
    admitted = Distribution.of((*step.latency["answer"].ms, *(step.slo_ms or 0.0 for _ in range(late))))
    return {
        "rate": step.plan.rate,
        "seconds": step.window_s,
        "arrivals": step.arrivals,
        "answered": step.answered,
        "goodput_rps": step.goodput_rps,
        "good_share": step.good_share or 0.0,
        "admitted_p50_ms": admitted.percentile(50),
        "admitted_p99_ms": admitted.percentile(99),
        "answer_ms": step.latency["answer"].figures(),
        "errors": [{"code": each.code, "reason": each.reason, "count": each.count} for each in step.errors],
        "late": list(step.client.reasons),
    }


def _goal(what: str, should: str, now: str, met: bool) -> dict[str, Any]:
    return {"what": what, "should": should, "is": now, "met": met}


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
