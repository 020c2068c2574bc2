"""How a model is trained: lengths, rates and seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sidebeam.training.error import TrainingError

DISTILLED = 0.8  # of a draft's loss: it is good when it agrees with its target; the rest keeps it honest about the data


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of one training run. Raises `TrainingError` naming the option, the value and its limit.

    A step of each process takes `accumulate` batches, one after another. Training ends early after `patience` epochs
    without a better validation loss; 0: never.
    """

    epochs: int = 10
    max_steps: int | None = None
    batch_size: int = 64
    accumulate: int = 1
    patience: int = 5
    learning_rate: float = 1e-3
    warmup: float = 0.05  # share of all steps
    weight_decay: float = 0.1
    clip: float = 1.0  # largest gradient norm
    seed: int = 0

    def __post_init__(self) -> None:
        leasts = (("epochs", 1), ("max_steps", 1), ("batch_size", 1), ("accumulate", 1), ("patience", 0), ("seed", 0))
        for name, least in leasts:
            value = getattr(self, name)
            if value is not None and value < least:
                raise TrainingError(f"--{name.replace('_', '-')} must be at least {least}. Given: {value}")
        if not 0 < self.learning_rate < math.inf:
            raise TrainingError(f"--lr must be above 0. Given: {self.learning_rate}")
        if not 0 <= self.weight_decay < math.inf:
            raise TrainingError(f"--weight-decay must be at least 0. Given: {self.weight_decay}")

    def steps(self, batches: int) -> int:
        """All steps of a run in whose epochs a process has this many batches."""
        steps = self.epochs * -(-batches // self.accumulate)
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
