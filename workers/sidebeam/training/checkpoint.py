"""The state of an unfinished training run, kept in one file so that it is whole or absent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sidebeam.training.error import TrainingError

Weights = dict[str, torch.Tensor]
Setting = str | int | float | None

MAY_CHANGE = ("learning_rate",)  # a lower one is what helps a run that stopped at a loss that was not finite


@dataclass(slots=True)
class Progress:
    """Where a run stands: `done` steps of `epoch`, which counts from 0, and `step` steps in all.

    `best` are the weights of the best epoch so far, `stale` the epochs since then.
    """

    epoch: int = 0
    done: int = 0
    step: int = 0
    loss_sum: float = 0.0  # over the steps of this epoch
    best_loss: float | None = None
    best: Weights | None = None
    stale: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A file that holds a run's progress, weights and optimizer, and the settings they belong to.

    `weights` are those that are trained: the others are in the model that the run began with.
    """

    path: Path
    settings: Mapping[str, Setting]

    def save(self, progress: Progress, weights: Weights, optimizer: Mapping[str, Any]) -> None:
        """Replaces the file in one move."""
        state = {
            "settings": dict(self.settings),
            "progress": {name: getattr(progress, name) for name in Progress.__slots__},
            "weights": weights,
            "optimizer": optimizer,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, self._partial)
        os.replace(self._partial, self.path)

    def load(self) -> tuple[Progress, Weights, dict[str, Any]]:
        """What `save` kept. Raises `TrainingError` where nothing was, or where another run's settings stand."""
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise TrainingError(f"{self.path}: no unfinished training to resume") from None
        except Exception as error:  # what a damaged file raises depends on where the damage is
            raise TrainingError(f"{self.path}: cannot be read, start again without --resume: {error}") from None
        kept = state["settings"]
        changed = [
            f"{name} was {kept.get(name)}, now {self.settings.get(name)}"
            for name in sorted({*kept, *self.settings})
            if kept.get(name) != self.settings.get(name) and name not in MAY_CHANGE
        ]
        if changed:
            raise TrainingError(f"{self.path}: the unfinished training had other settings: {'; '.join(changed)}")
        return Progress(**state["progress"]), state["weights"], state["optimizer"]

    def remove(self) -> None:
        """Forgets the run."""
        self.path.unlink(missing_ok=True)
        self._partial.unlink(missing_ok=True)

    @property
    def _partial(self) -> Path:
        return self.path.with_name(f"{self.path.name}.partial")
