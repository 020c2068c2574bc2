"""`sidebeam bench deadlines`: what callers get whose deadlines are as short as an answer takes, or shorter."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sidebeam.client import AsyncClient, Recommendation, SidebeamError
from sidebeam.command.sidecar import START_S, Sidecar

BOUNDS_MS = (1, 10, 20, 30, 50, 75, 100, 150, 200)
FEASIBLE_MS = 30.0  # shorter ones may end with nothing
WARM_UP = 64


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request; `took_ms` by the caller's clock."""

    deadline_ms: float
    took_ms: float
    code: str  # "" for an answer
    items: int = 0
    is_whole: bool = False
    verified: float = 0.0  # share of the SIDs' tokens that the target had accepted
    overlap: float = 0.0  # share of the items that the whole answer has, too

    @property
    def is_late(self) -> bool:
        """Whether there is an answer, and no more use for it."""
        return not self.code and self.took_ms > self.deadline_ms


def measure(bundle: Path, histories: list[list[str]], k: int, seed: int = 0) -> dict[str, Any]:
    """Serve `bundle` in processes of its own, and ask once for each history with a deadline drawn evenly."""
    deadlines = np.random.default_rng(seed).uniform(BOUNDS_MS[0], BOUNDS_MS[-1], len(histories)).tolist()
    with Sidecar.of(bundle, "--log-level", "warning") as sidecar:
        outcomes = asyncio.run(_ask_all(sidecar.address, histories, deadlines, k))
    return as_json(outcomes, k)


def as_json(outcomes: Sequence[Outcome], k: int) -> dict[str, Any]:
    """Counts, in all and by deadline."""
    feasible = [each for each in outcomes if each.deadline_ms > FEASIBLE_MS]
    runs = itertools.pairwise(BOUNDS_MS)
    return {
        "schema": 1,
        "requests": len(outcomes),
        "top_k": k,
        "late": sum(each.is_late for each in outcomes),
        "latest_ms": max((each.took_ms - each.deadline_ms for each in outcomes if each.is_late), default=0.0),
        "useful_share": float(np.mean([_is_useful(each, k) for each in feasible])) if feasible else None,
        "other_errors": dict(Counter(each.code for each in outcomes if each.code not in ("", "DEADLINE_EXCEEDED"))),
        "rows": [
            _row(low, high, [each for each in outcomes if low <= each.deadline_ms < high], k) for low, high in runs
        ],
    }


def report(result: dict[str, Any]) -> str:
    """The table a person reads."""
    lines = [
        f"{result['requests']} requests, K = {result['top_k']}, deadlines of {BOUNDS_MS[0]} to {BOUNDS_MS[-1]} ms, "
        "on_deadline BEST_SO_FAR",
        "  deadline ms   asked   whole  cut short  nothing   verified  of the whole answer",
    ]
    for row in result["rows"]:
        cut = "" if row["verified"] is None else f"{row['verified']:>9.0%} {row['overlap']:>11.0%}"
        span = f"{row['from_ms']}-{row['to_ms']}"
        lines.append(
            f"  {span:>11}  {row['asked']:>6}  {row['whole']:>6}  {row['cut_short']:>9}  {row['nothing']:>7}  {cut}"
        )
    useful = "-" if result["useful_share"] is None else f"{result['useful_share']:.1%}"
    errors = ", ".join(f"{code} {count}" for code, count in result["other_errors"].items()) or "none"
    latest = f", the latest by {result['latest_ms']:.1f} ms" if result["late"] else ""
    lines.append(
        f"  answers after their deadline: {result['late']}{latest}; above {FEASIBLE_MS:g} ms {useful} got "
        f"{result['top_k']} items; errors other than DEADLINE_EXCEEDED: {errors}"
    )
    return "\n".join(lines)


def _row(low: int, high: int, outcomes: Sequence[Outcome], k: int) -> dict[str, Any]:
    cut = [each for each in outcomes if not each.code and not each.is_whole]
    return {
        "from_ms": low,
        "to_ms": high,
        "asked": len(outcomes),
        "whole": sum(each.is_whole for each in outcomes),
        "cut_short": len(cut),
        "nothing": sum(not _is_useful(each, k) for each in outcomes),
        "verified": float(np.mean([each.verified for each in cut])) if cut else None,
        "overlap": float(np.mean([each.overlap for each in cut])) if cut else None,
    }


def _is_useful(outcome: Outcome, k: int) -> bool:
    return not outcome.code and outcome.items == k


async def _ask_all(address: str, histories: list[list[str]], deadlines_ms: Sequence[float], k: int) -> list[Outcome]:
    async with AsyncClient(address, timeout_s=60) as client:
        await client.wait_until_ready(START_S)
        for history in (histories * WARM_UP)[:WARM_UP]:
            await client.recommend(history=history, top_k=k)
        outcomes = []
        for history, deadline_ms in zip(histories, deadlines_ms, strict=True):
            whole = await client.recommend(history=history, top_k=k)
            outcomes.append(await _ask(client, history, deadline_ms, k, whole))
        return outcomes


async def _ask(client: AsyncClient, history: list[str], deadline_ms: float, k: int, whole: Recommendation) -> Outcome:
    start = time.perf_counter()
    try:
        answer = await client.recommend(
            history=history, top_k=k, timeout_s=deadline_ms / 1e3, on_deadline="best_so_far"
        )
    except SidebeamError as error:
        return Outcome(deadline_ms, (time.perf_counter() - start) * 1e3, error.code.name)
    took_ms = (time.perf_counter() - start) * 1e3
    both = {item.item_id for item in answer.items} & {item.item_id for item in whole.items}
    return Outcome(
        deadline_ms=deadline_ms,
        took_ms=took_ms,
        code="",
        items=len(answer.items),
        is_whole=not answer.cut_short,
        verified=float(np.mean([item.verified / len(item.sid) for item in answer.items])) if answer.items else 0.0,
        overlap=len(both) / max(1, len(whole.items)),
    )
