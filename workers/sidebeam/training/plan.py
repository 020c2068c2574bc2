"""How a target comes about: from what, which of its weights are trained, and on which labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sidebeam.training.error import TrainingError

LossOn = Literal["response", "all"]

ALPHA_PER_RANK = 2
LORA_DROPOUT = 0.05


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank adapters: updates of rank `rank`, times alpha / rank. Raises `TrainingError` naming a bad option."""

    rank: int
    alpha: int
    dropout: float = LORA_DROPOUT

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise TrainingError(f"--lora must be at least 1. Given: {self.rank}")
        if self.alpha < 1:
            raise TrainingError(f"--lora-alpha must be at least 1. Given: {self.alpha}")
        if not 0 <= self.dropout < 1:
            raise TrainingError(f"--lora-dropout must be from 0 to below 1. Given: {self.dropout}")


@dataclass(frozen=True, slots=True)
class Plan:
    """Without `base` a target is a fresh model; without `lora` all weights are trained.

    `loss_on`: the SID that a prompt asks for, or every token of the prompt, too. `shuffle`: the share of histories
    whose items come in a random order. Raises `TrainingError` naming a bad option.
    """

    base: Path | None = None
    lora: Lora | None = None
    dropout: float = 0.0
    label_smoothing: float = 0.0
    loss_on: LossOn = "response"
    shuffle: float = 0.0

    def __post_init__(self) -> None:
        for name in ("dropout", "label_smoothing"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise TrainingError(f"--{name.replace('_', '-')} must be from 0 to below 1. Given: {value}")
        if not 0 <= self.shuffle <= 1:
            raise TrainingError(f"--shuffle must be from 0 to 1. Given: {self.shuffle}")
        if self.lora is not None and self.base is None:
            raise TrainingError(f"--lora needs a trained model, --base. Given: --lora {self.lora.rank} alone")
