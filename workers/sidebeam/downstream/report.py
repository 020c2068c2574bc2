"""What the study found, for people and for scripts."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sidebeam.downstream.error import DownstreamError
from sidebeam.downstream.scores import Mean
from sidebeam.downstream.study import Findings, StudyPlan
from sidebeam.downstream.trial import ClickRecipe

VERSION = 1
PROTOCOL = (
    "samples: every item in valid and test, after its history; negatives: drawn evenly from items that the user never "
    "has; users dealt 70/10/20 to train, valid and test by seed; weights averaged over steps; epoch chosen by "
    "validation log loss; one look at test"
)


def table(findings: Findings) -> str:
    """Scores, then paired differences, as plain text."""
    wide = max(map(len, findings.scores))
    seeds = len(next(iter(findings.scores.values())))
    lines = [
        f"{findings.users:,} users, {findings.items:,} items, {seeds} seeds; means with 95 % intervals over seeds",
        f"{'texts':<{wide}} {'AUC':>24} {'log loss':>24} {'of users':>9} {'of items':>9}",
    ]
    for arm, coverage in findings.coverage.items():
        lines.append(
            f"{arm:<{wide}} {_spelled(findings.mean(arm, 'auc')):>24} {_spelled(findings.mean(arm, 'log_loss')):>24} "
            f"{_share(coverage.users):>9} {_share(coverage.items):>9}"
        )
    lines.append("")
    differences = findings.differences()
    wide = max(len(f"{each.arm} - {each.less}") for each in differences)
    lines.append(f"{'paired by seed':<{wide}} {'AUC':>28} {'log loss':>28}")
    for each in differences:
        name = f"{each.arm} - {each.less}"
        lines.append(f"{name:<{wide}} {_spelled(each.auc, signed=True):>28} {_spelled(each.log_loss, signed=True):>28}")
    return "\n".join(lines)


def document(findings: Findings, plan: StudyPlan, recipe: ClickRecipe, encoder: str) -> str:
    """Everything as JSON."""
    return json.dumps(
        {
            "format": "sidebeam downstream",
            "version": VERSION,
            "protocol": PROTOCOL,
            "encoder": encoder,
            "plan": asdict(plan),
            "recipe": asdict(recipe),
            "users": findings.users,
            "items": findings.items,
            "arms": {
                arm: {
                    "coverage": asdict(findings.coverage[arm]),
                    "auc": _mean(findings.mean(arm, "auc")),
                    "log_loss": _mean(findings.mean(arm, "log_loss")),
                    "seeds": [asdict(score) for score in scores],
                }
                for arm, scores in findings.scores.items()
            },
            "differences": [
                {"arm": each.arm, "less": each.less, "auc": _mean(each.auc), "log_loss": _mean(each.log_loss)}
                for each in findings.differences()
            ],
        },
        indent=1,
    )


def check_out(path: Path) -> None:
    """Raises `DownstreamError` where no report can be written."""
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise DownstreamError(f"--out must be a file in a folder that can be written to; given {path}")


def write(path: Path, text: str) -> None:
    """Whole or not at all. Raises `DownstreamError` if it cannot be written."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text + "\n", encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise DownstreamError(f"--out {path}: cannot be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


def _spelled(mean: Mean, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    value = f"{mean.value:{sign}.4f}"
    return f"{value} ({mean.low:{sign}.4f} to {mean.high:{sign}.4f})" if math.isfinite(mean.low) else value


def _share(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def _mean(mean: Mean) -> dict[str, Any]:
    bounded = math.isfinite(mean.low)
    return {"mean": mean.value, "low": mean.low if bounded else None, "high": mean.high if bounded else None}
