"""What a draft is trained for, as the command line says it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from sidebeam.training.error import TrainingError
from sidebeam.training.recipe import DISTILLED

Goal = Literal["label", "tokens", "beams"]
"""What an objective looks at: the item that was taken; single tokens on the target's beams; whole beams."""

OBJECTIVES: dict[str, tuple[Goal, str]] = {
    "sft": ("label", "cross-entropy on the histories"),
    "word-kd": ("label", "KL divergence from the live target at the histories' items"),
    "tvd-kd": ("label", "total variation from the live target at the histories' items"),
    "seq-kd": ("tokens", "cross-entropy on the target's beams"),
    "atspeed-s": ("tokens", "reverse KL within the draft's own best K, and density; for strict verification"),
    "atspeed-r": ("tokens", "total variation over live children; for relaxed verification"),
    "joint": ("beams", "KL divergence of cumulative scores over all candidates of a depth"),
    "top-k": ("beams", "the target's K beams against all candidates of a depth"),
    "top-n": ("beams", "the target's K beams against the draft's N-th best candidate of a depth"),
}

# Shares of alignment that did best on held-out users. Whole beams say all that is compared; reverse KL alone, which
# never looks beyond what the draft thinks likely, forgets the rest.
ALIGNED = 0.95
ALIGNED_BY_OBJECTIVE = {"joint": 1.0, "atspeed-s": 0.985}

ON_POLICY = ("atspeed-s", "atspeed-r", "joint")  # what has a meaning on beams that are not the target's

LEAST_TAU, MOST_TAU = 0.1, 10.0  # beyond them softmax is one-hot or flat, and its gradient is gone


@dataclass(frozen=True, slots=True)
class Aim:
    """An objective and its knobs. Raises `TrainingError` naming the option, the value and its limit.

    `beams` None is the bundle's default N; `level_weights` None weighs what counts for the objective, all the same.
    `on_policy`: the draft's own beams are judged, by the live target, instead of the teacher's.
    """

    objective: str
    alpha: float = DISTILLED
    beta: float = 1.0
    tau: float = 1.0
    beams: int | None = None
    level_weights: tuple[float, ...] | None = None
    on_policy: bool = False

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise TrainingError(f"--objective must be one of {', '.join(OBJECTIVES)}. Given: {self.objective}")
        if not 0 <= self.alpha <= 1:
            raise TrainingError(f"--alpha must be from 0 to 1. Given: {self.alpha}")
        if not 0 <= self.beta < math.inf:
            raise TrainingError(f"--beta must be at least 0. Given: {self.beta}")
        if not LEAST_TAU <= self.tau <= MOST_TAU:
            raise TrainingError(f"--tau must be from {LEAST_TAU} to {MOST_TAU}. Given: {self.tau}")
        if self.on_policy and self.objective not in ON_POLICY:
            raise TrainingError(f"--on-policy goes with {', '.join(ON_POLICY)}. Given: {self.objective}")
        weights = self.level_weights
        if weights is not None and not (all(0 <= weight < math.inf for weight in weights) and sum(weights) > 0):
            shown = ",".join(f"{weight:g}" for weight in weights)
            raise TrainingError(f"--level-weights must be at least 0, and one of them above. Given: {shown}")

    @property
    def goal(self) -> Goal:
        """What the objective looks at."""
        return OBJECTIVES[self.objective][0]

    def weights(self, length: int) -> tuple[float, ...]:
        """Of the depths from 1 to the last that counts, for SIDs of `length` tokens.

        Whole beams count down to depth L - 1: nobody drafts leaves, since nothing is scored after them.
        """
        if self.level_weights is None:
            return (1.0,) * (length if self.goal == "tokens" else max(1, length - 1))
        if len(self.level_weights) != length:
            raise TrainingError(
                f"--level-weights must be {length} numbers, one for each depth of the catalog. "
                f"Given: {len(self.level_weights)}"
            )
        used = max(depth for depth, weight in enumerate(self.level_weights, start=1) if weight > 0)
        return self.level_weights[:used]

    def drafted(self, default: int, top_k: int) -> int:
        """N. Raises `TrainingError` where it cannot hold the teacher's K."""
        beams = default if self.beams is None else self.beams
        if beams < top_k:
            raise TrainingError(f"--beams must be at least the teacher's {top_k}. Given: {beams}")
        return beams
