"""All that a run found out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sidebeam.load.knee import Knee, Level, find_knee
from sidebeam.load.rule import Rule, Verdict, judge
from sidebeam.load.summary import Summary


@dataclass(frozen=True, slots=True)
class Report:
    """The steps that were measured, at least one, with Unix times of when each began, and what follows from them.

    `settings` echoes the options, `scene` the versions and the machine. `knee` is None for a single rate.
    """

    settings: dict[str, Any]
    scene: dict[str, Any]
    began: tuple[float, ...]
    summaries: tuple[Summary, ...]
    knee: Knee | None
    verdicts: tuple[Verdict, ...]
    interrupted: bool

    @property
    def trusted(self) -> bool:
        """Whether the client kept up in every step."""
        return all(summary.client.trusted for summary in self.summaries)

    @property
    def failed(self) -> bool:
        """Whether any rule is broken."""
        return any(verdict.broken for verdict in self.verdicts)

    @classmethod
    def of(
        cls,
        settings: dict[str, Any],
        scene: dict[str, Any],
        steps: Sequence[tuple[float, Summary]],
        rules: Sequence[Rule],
        interrupted: bool,
    ) -> Report:
        """Draw the conclusions from what was measured."""
        began, summaries = zip(*steps, strict=True)
        rates = [summary for summary in summaries if summary.plan.rate is not None]
        knee = find_knee([Level.of(summary) for summary in rates]) if len(rates) > 1 else None
        return cls(settings, scene, began, summaries, knee, tuple(judge(rules, summaries, knee)), interrupted)
