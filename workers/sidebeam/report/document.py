"""The report for scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from sidebeam.evaluation.arm_name import ArmName
from sidebeam.evaluation.findings import Findings
from sidebeam.evaluation.scene import Scene
from sidebeam.report.summary import sentences

SCHEMA = 1
DIGITS = 6  # significant ones


def document(scene: Scene, findings: Findings) -> str:
    """JSON. An estimate is {"value", "low", "high"}; what could not be measured is null."""
    content = {
        "schema": SCHEMA,
        **scene.as_json(),
        "summary": sentences(scene, findings),
        "costs": [_plain(cost) for cost in findings.costs],
        "quality": [_plain(quality) for quality in findings.quality],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, ArmName):
        return asdict(value) | {"label": value.label}
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
