"""What `sidebeam bench knowledge` says: rows, a table of them, and the same for scripts."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import transformers


@dataclass(frozen=True, slots=True)
class Row:
    """One arm over one set of prompts, so many written at once. Ratios are to the arm that drafts nothing.

    `ms` is the median time per text: of each text where they are written one by one, else of each block's mean.
    `identical` is the share of texts that equal that arm's, token by token; `unchanged` that of texts that equal the
    entity's earlier one.
    """

    prompts: str
    at_once: int
    arm: str
    is_exact: bool
    texts: int
    tokens: int
    tokens_per_pass: float
    rows_per_pass: float
    ms: float
    ms_ratio: float
    tokens_per_s: float
    tokens_per_s_ratio: float
    cpu_ratio: float  # of tokens per CPU second
    length_ratio: float
    identical: float
    unchanged: float
    relaxed: float  # share of tokens
    divergence: float  # nats per text
    accepted: dict[str, tuple[int, int]]  # by tier: drafted tokens that are in the texts, and all
    host_ms: float  # per pass: drafting, packing, settling
    pass_ms: float  # per pass: the model and verification
    audit_failures: int


@dataclass(frozen=True, slots=True)
class Check:
    """Texts of `generate` beside ours without drafts."""

    texts: int
    identical: int
    ms: float  # median time of `generate`


def is_right(rows: Sequence[Row], check: Check) -> bool:
    """Whether all exact texts are exact, and all relaxed tokens allowed."""
    exact = all(row.identical == 1.0 for row in rows if row.is_exact)
    return exact and check.identical == check.texts and not any(row.audit_failures for row in rows)


def report(rows: Sequence[Row], check: Check, threads: int) -> str:
    """The table a person reads."""
    width = max(len(row.prompts) for row in rows)
    lines = [
        f"{'prompts':<{width}} {'at once':>7} {'arm':<7} {'tok/pass':>8} {'rows/pass':>9} {'ms/text':>8} "
        f"{'vs none':>8} {'tokens/s':>8} {'vs none':>8} {'CPU':>6} {'length':>6} {'identical':>9} {'relaxed':>8}  "
        "accepted of drafted tokens, by tier"
    ]
    for row in rows:
        tiers = ", ".join(f"{tier} {yes / every:.0%} of {every:,}" for tier, (yes, every) in row.accepted.items())
        relaxed = "" if row.is_exact else f"{row.relaxed:.2%}"
        lines.append(
            f"{row.prompts:<{width}} {row.at_once:>7} {row.arm:<7} {row.tokens_per_pass:>8.2f} "
            f"{row.rows_per_pass:>9.1f} {row.ms:>8.2f} {row.ms_ratio:>7.2f}x {row.tokens_per_s:>8,.0f} "
            f"{row.tokens_per_s_ratio:>7.2f}x {row.cpu_ratio:>5.2f}x {row.length_ratio:>6.3f} {row.identical:>9.1%} "
            f"{relaxed:>8}  {tiers}"
        )
    told = {row.prompts: f"{row.texts} texts, {row.unchanged:.0%} as the entity's earlier one" for row in rows[::-1]}
    lines += [f"{name}: {text}" for name, text in sorted(told.items())]
    lines.append(
        f"generate of transformers: {check.identical} of {check.texts} texts identical, median {check.ms:.1f} ms; "
        f"{sum(row.audit_failures for row in rows)} relaxed tokens against the rule; {threads} threads"
    )
    return "\n".join(lines)


def as_json(rows: Sequence[Row], check: Check, threads: int) -> dict[str, Any]:
    """The same for scripts."""
    return {
        "schema": 1,
        "threads": threads,
        "check": asdict(check),
        "rows": [asdict(row) for row in rows],
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
