"""What a model is trained for. Here: the objectives at the labelled positions of user histories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sidebeam.training.error import TrainingError
from sidebeam.training.logits import labelled_logits
from sidebeam.training.loss import next_token_loss
from sidebeam.training.sequences import UNLABELLED, Batch

Divergence = Callable[[Tensor, Tensor], Tensor]
"""Of student logits from target logits, both [n, V]; their mean over n."""


class Movable(Protocol):
    """A batch of any kind."""

    def to(self, device: torch.device) -> Self:
        """The batch on another device."""


B = TypeVar("B", bound=Movable)
B_in = TypeVar("B_in", contravariant=True)
B_out = TypeVar("B_out", bound=Movable, covariant=True)


class Samples(Protocol[B_out]):
    """What a model is trained or judged on."""

    def __len__(self) -> int:
        """How many samples."""

    def batches(self, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
        """Every sample's index once, in an order that seed and epoch decide."""

    def collate(self, indices: Sequence[int]) -> B_out:
        """The samples of these indices as one batch."""


class Objective(Protocol[B_in]):
    """A loss over one kind of batch."""

    def to(self, device: torch.device) -> None:
        """Moves what it owns, such as a target, to where the batches are."""

    def loss(self, model: PreTrainedModel, batch: B_in) -> tuple[Tensor, int]:
        """The mean loss of a batch, and over how many labelled tokens."""


class NextToken:
    """SFT: cross-entropy at the labelled positions; smoothed while training, never while judging."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self._smoothing = label_smoothing

    def to(self, device: torch.device) -> None:
        """Owns nothing."""

    def loss(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, int]:
        logits, labels = labelled_logits(model, batch)  # [n, V], [n]
        return next_token_loss(logits, labels, self._smoothing if model.training else 0.0), len(labels)


class TokenKD:
    """(1 - alpha) * cross-entropy + alpha * divergence from a live target, both at the labelled positions.

    WordKD with `agreement_loss`, TVDKD with `total_variation_loss` (AtSpeed, section 4.1). Raises `TrainingError` for
    an alpha outside 0 to 1.
    """

    def __init__(self, target: PreTrainedModel, divergence: Divergence, alpha: float) -> None:
        check_alpha(alpha)
        self._target = target.eval().requires_grad_(False)
        self._divergence = divergence
        self._alpha = alpha

    def to(self, device: torch.device) -> None:
        self._target.to(device)

    def loss(self, model: PreTrainedModel, batch: Batch) -> tuple[Tensor, int]:
        labelled = batch.labels != UNLABELLED
        logits = model(input_ids=batch.tokens, use_cache=False).logits[labelled]  # [n, V]
        loss = next_token_loss(logits, batch.labels[labelled])
        if self._alpha > 0:
            with torch.no_grad():
                wanted = self._target(input_ids=batch.tokens, use_cache=False).logits[labelled]
            loss = (1 - self._alpha) * loss + self._alpha * self._divergence(logits, wanted)
        return loss, len(logits)


def check_alpha(alpha: Any) -> None:
    """Raises `TrainingError` for an alignment strength outside 0 to 1."""
    if not 0 <= alpha <= 1:
        raise TrainingError(f"--alpha must be from 0 to 1. Given: {alpha}")
