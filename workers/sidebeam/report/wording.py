"""How figures are written for people: the same in the terminal, in sentences and on the page."""

from __future__ import annotations

from collections.abc import Sequence

from sidebeam.evaluation.arm_name import ArmName
from sidebeam.evaluation.interval import Estimate

NOTHING = "-"


def share(estimate: Estimate | None, digits: int = 1) -> str:
    """A share in percent."""
    return _written(estimate, 100, digits, "%")


def ratio(estimate: Estimate | None) -> str:
    """How many times as much."""
    return _written(estimate, 1, 2, "x")


def number(estimate: Estimate | None, digits: int = 2) -> str:
    """A plain figure."""
    return _written(estimate, 1, digits, "")


def interval(estimate: Estimate | None, factor: float = 1, digits: int = 2) -> str:
    """From where to where it may be, without the figure itself."""
    if estimate is None:
        return ""
    return f"{factor * estimate.low:,.{digits}f} to {factor * estimate.high:,.{digits}f}"


def together(names: Sequence[ArmName]) -> str:
    """Arms by verification, as "strict off, auto"."""
    drafts: dict[str, list[str]] = {}
    for name in names:
        drafts.setdefault(name.verification, []).append(name.draft)
    return "; ".join(f"{verification} {', '.join(each)}".strip() for verification, each in drafts.items())


def _written(estimate: Estimate | None, factor: float, digits: int, unit: str) -> str:
    return NOTHING if estimate is None else f"{factor * estimate.value:,.{digits}f}{unit}"
