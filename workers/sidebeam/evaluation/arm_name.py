"""What the arms of an evaluation are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ArmName:
    """How a list was made.

    `draft` says by which draft; it is "generate", "popularity" or "neighbours" for those, which know no verification.
    """

    verification: Literal["strict", "relaxed", ""]
    draft: str

    @property
    def label(self) -> str:
        """Both in words."""
        return f"{self.verification} {self.draft}".strip()

    @property
    def off(self) -> ArmName:
        """The arm without drafts that this one is compared with; generate's is the strict one."""
        return ArmName(self.verification or "strict", "off")


GENERATE = ArmName("", "generate")
POPULARITY = ArmName("", "popularity")
NEIGHBOURS = ArmName("", "neighbours")
BASELINES = (POPULARITY, NEIGHBOURS)
