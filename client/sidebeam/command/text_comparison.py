"""The knowledge demo's table: passes and time per text without drafts, with pools, and relaxed, in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console
from rich.table import Table

from sidebeam.client import AsyncClient, Text, TextArguments
from sidebeam.command.knowledge_story import RULE, by_the_rule, request
from sidebeam.command.subject import Cast, Subject
from sidebeam.training.progress import ProgressBar

Arm = Literal["none", "pools", "relaxed"]  # of these, relaxed texts are drafted from pools, too
ARMS: tuple[Arm, ...] = ("none", "pools", "relaxed")


@dataclass(slots=True)
class Arms:
    """Texts and milliseconds of each arm, in the order of their subjects."""

    texts: dict[Arm, list[Text]] = field(default_factory=lambda: {arm: [] for arm in ARMS})
    ms: dict[Arm, list[float]] = field(default_factory=lambda: {arm: [] for arm in ARMS})

    def row(self, arm: Arm) -> tuple[str, ...]:
        """Tokens per pass, mean passes, median time, and both as ratios to no drafts."""
        passes = {each: sum(text.passes for text in self.texts[each]) for each in (ARMS[0], arm)}
        tokens = sum(len(text.tokens) for text in self.texts[arm])
        median = statistics.median(self.ms[arm])
        return (
            f"{tokens / passes[arm]:.1f}",
            f"{passes[arm] / len(self.texts[arm]):.1f}",
            f"{median:.0f}",
            f"{passes[ARMS[0]] / passes[arm]:.1f}x",
            f"{statistics.median(self.ms[ARMS[0]]) / median:.1f}x",
        )

    def same(self, arm: Arm) -> int:
        """How many texts are those without drafts, to the token."""
        return sum(a.tokens == b.tokens for a, b in zip(self.texts[arm], self.texts[ARMS[0]], strict=True))


async def compare(client: AsyncClient, casts: Sequence[Cast], bar: ProgressBar) -> dict[str, Arms]:
    """By kind. A new sidecar first writes about others: it tries drafts to learn what they are worth here."""
    found: dict[str, Arms] = {}
    bar.begin("texts for the table", sum(len(cast.others) + len(cast.compared) for cast in casts))
    for cast in casts:
        for subject in cast.others:
            for arm in ARMS[1:]:
                await client.generate(**_arguments(subject, arm))
            bar.advance(1, "a second")
        arms = Arms()
        for turn, subject in enumerate(cast.compared):
            first = turn % len(ARMS)
            for arm in (*ARMS[first:], *ARMS[:first]):
                started = time.perf_counter()
                arms.texts[arm].append(await client.generate(**_arguments(subject, arm)))
                arms.ms[arm].append((time.perf_counter() - started) * 1e3)
            bar.advance(1, "a second")
        found[cast.kind] = arms
    return found


def show(console: Console, found: Mapping[str, Arms]) -> None:
    """Prints the table, and what it says of exactness."""
    count = sum(len(arms.texts[ARMS[0]]) for arms in found.values())
    table = Table(title=f"{count} other texts, one at a time, each in all three ways", title_justify="left")
    for column in ("about", "drafts", "tokens/pass", "passes", "ms", "fewer passes", "less time"):
        table.add_column(column, justify="left" if column in ("about", "drafts") else "right")
    for kind, arms in found.items():
        for arm in ARMS:
            table.add_row(kind if arm == ARMS[0] else "", arm, *arms.row(arm), end_section=arm == ARMS[-1])
    console.print()
    console.print(table)
    same = {arm: sum(arms.same(arm) for arms in found.values()) for arm in ARMS}
    relaxed = [text for arms in found.values() for text in arms.texts[ARMS[2]]]
    tokens, traded = sum(len(text.tokens) for text in relaxed), sum(len(text.relaxed) for text in relaxed)
    console.print(f"Drafted from pools, {same[ARMS[1]]} of {count} texts are those without drafts, token for token.")
    console.print(
        f"Relaxed, {same[ARMS[2]]} of {count} are; {traded} of {tokens:,} tokens were traded, "
        f"{sum(map(by_the_rule, relaxed))} of them within the rule."
    )
    console.print("ms: medians, as a caller sees them. Passes: means.", style="dim")


def _arguments(subject: Subject, arm: Arm) -> TextArguments:
    if arm == "none":
        return TextArguments(**request(subject), draft="off")
    return request(subject) if arm == "pools" else TextArguments(**request(subject), verification=RULE)
