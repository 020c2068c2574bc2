"""An objective on the teacher's beams: L = (1 - alpha) * L_rec + alpha * L_align (AtSpeed, section 2.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sidebeam.alignment.beam_tree import BeamTree, Level
from sidebeam.alignment.forward import child_log_probs, hidden_rows, logits_of
from sidebeam.alignment.losses import Knobs
from sidebeam.training.loss import next_token_loss

Alignment = Callable[[Sequence[Level], Sequence[Tensor], Knobs], list[Tensor]]
"""One loss a depth."""


@dataclass(frozen=True, slots=True)
class BeamObjective:
    """`weights` are those of the depths' losses, from depth 1 on; L_align is their weighted mean.

    L_rec is the cross-entropy of the labelled item's tokens, and of nothing else.
    """

    align: Alignment
    knobs: Knobs
    alpha: float
    weights: tuple[float, ...]

    def to(self, device: torch.device) -> None:
        """Owns nothing."""

    def loss(self, model: PreTrainedModel, batch: BeamTree) -> tuple[Tensor, int]:
        """The loss, and how many label tokens the batch has."""
        *beams, label = hidden_rows(model, batch)
        loss = beams[0].new_zeros(())
        if self.alpha < 1:
            logits = logits_of(model, torch.cat([beams[0], label], dim=1))  # [B, L, V]
            loss = (1 - self.alpha) * next_token_loss(logits.flatten(0, 1), batch.labels.flatten())
        if self.alpha > 0:
            loss = loss + self.alpha * self._aligned(model, beams, batch)
        return loss, batch.labels.numel()

    def _aligned(self, model: PreTrainedModel, beams: Sequence[Tensor], batch: BeamTree) -> Tensor:
        log_q = child_log_probs(model, beams, batch)
        losses = torch.stack(self.align(batch.levels, log_q, self.knobs))  # [levels]
        weights = losses.new_tensor(self.weights)
        return (losses * weights).sum() / weights.sum()
