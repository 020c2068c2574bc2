"""What a job has written, and what that cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sidebeam.texts import TextResult

Ints = npt.NDArray[np.int64]


@dataclass(slots=True)
class Tally:
    """Of one run; `kept` lines are an earlier one's. Counts by tier are numbered as `tiers` names them."""

    tiers: Sequence[str]
    kept: int = 0
    texts: int = 0
    failures: int = 0
    tokens: int = 0
    passes: int = 0  # of each text, even where several shared one
    relaxed: int = 0
    undrafted: int = 0  # texts whose drafter failed
    learned: int = 0
    seconds: float = 0.0
    pools_problem: str = ""
    drafted: Ints = field(init=False)  # [tiers]
    accepted: Ints = field(init=False)  # [tiers]

    def __post_init__(self) -> None:
        self.drafted, self.accepted = np.zeros((2, len(self.tiers)), np.int64)

    def add(self, result: TextResult) -> None:
        """One more text."""
        self.texts += 1
        self.tokens += len(result.tokens)
        self.passes += result.passes
        self.relaxed += len(result.relaxed)
        self.undrafted += result.draft_error is not None
        for counts, more in ((self.drafted, result.drafted_by_tier), (self.accepted, result.accepted_by_tier)):
            counts[: len(more)] += np.array(more, np.int64)

    def told(self) -> list[str]:
        """As lines for a person."""
        before = f", {self.kept:,} from before" if self.kept else ""
        lines = [f"{self.texts:,} texts, {self.failures:,} failed{before}"]
        if self.texts:
            rate = f"{self.tokens / self.seconds:,.0f} tokens/s" if self.seconds else "no time"
            lines.append(f"{self.tokens:,} tokens, {rate}, {self.tokens / self.passes:.2f} tokens per pass")
            asked = [
                f"{name} {yes:,} of {all_:,} ({yes / all_:.0%})"
                for name, yes, all_ in zip(self.tiers, self.accepted.tolist(), self.drafted.tolist(), strict=True)
                if all_
            ]
            lines.append(f"drafted tokens accepted: {', '.join(asked) or 'nothing was drafted'}")
            lines.append(f"relaxed tokens: {self.relaxed:,} ({self.relaxed / self.tokens:.2%})")
        if self.learned:
            lines.append(f"texts learned by the pools: {self.learned:,}")
        if self.undrafted:
            lines.append(f"texts whose drafts failed on the way: {self.undrafted:,}")
        if self.pools_problem:
            lines.append(f"written without pools: {self.pools_problem}")
        return lines
