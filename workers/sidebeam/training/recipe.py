"""How a model is trained: lengths, rates and seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sidebeam.training.error import TrainingError


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of one training run. Raises `TrainingError` naming the option, the value and its limit.

    `distill` is the share of the loss that follows the teacher's distributions; the rest follows the data.
    """

    epochs: int = 10
    max_steps: int | None = None
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup: float = 0.05  # share of all steps
    weight_decay: float = 0.1
    clip: float = 1.0  # largest gradient norm
    seed: int = 0
    distill: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("max_steps", 1), ("batch_size", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise TrainingError(f"--{name.replace('_', '-')} must be at least {least}. Given: {value}")
        if not 0 < self.learning_rate < math.inf:
            raise TrainingError(f"--lr must be above 0. Given: {self.learning_rate}")
        if not 0 <= self.distill <= 1:
            raise TrainingError(f"--distill must be from 0 to 1. Given: {self.distill}")

    def steps(self, batches: int) -> int:
        """All steps of a run whose epochs have this many batches."""
        steps = self.epochs * batches
        return steps if self.max_steps is None else min(steps, self.max_steps)

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 0: a linear warm-up, then a cosine down to a tenth.

        A function of the step alone, so a resumed run needs no scheduler state.
        """
        warm = max(1, round(self.warmup * steps))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        done = (step - warm) / max(1, steps - warm)
        return self.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))
