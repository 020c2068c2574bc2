"""A batch of prompts with the beams below each: one row per prompt token and per beam, however many share them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Level:
    """The beams of one depth, K a sample, all their live children, C at most, and the k children that are beams.

    Depth 0 has one: the root. Where a sample has fewer beams or children than the batch, the rest is padding.
    """

    choice: Tensor  # [B, K, C] each child's index in `BeamTree.heads` of this depth
    live: Tensor  # [B, K, C] whether there is such a child
    edge: Tensor  # [B, K, C] the target's log-prob of each child; 0 in padding
    start: Tensor  # [B, K] the target's cumulative log-prob of each beam
    through: Tensor  # [B, K] how many of the teacher's final beams go through it
    kept: Tensor  # [B, k] the next depth's beams, best first, as indices into K * C
    is_kept: Tensor  # [B, k] whether there is such a beam
    paths: Tensor  # [B, k] how many of the teacher's final beams go through it


@dataclass(frozen=True, slots=True)
class BeamTree:
    """Rows: the prompt, padded on the left, then beams depth by depth, then the prefixes of the labelled item.

    `columns` are the last rows by use: 1 for the prompt's last token, whose logits are the root's, then each depth's
    beams, then L - 1 for the label. `heads[d]` are the token ids that depth d's logits are wanted of; None: all.
    """

    tokens: Tensor  # [B, S]
    positions: Tensor  # [B, S]
    mask: Tensor  # [B, 1, S, S] True where a row may look
    labels: Tensor  # [B, L] the item that the user took
    columns: tuple[int, ...]
    levels: tuple[Level, ...]
    heads: tuple[Tensor | None, ...]

    def to(self, device: torch.device) -> BeamTree:
        """The batch on another device."""
        levels = tuple(
            Level(**{entry.name: getattr(level, entry.name).to(device) for entry in fields(Level)})
            for level in self.levels
        )
        tensors = (self.tokens, self.positions, self.mask, self.labels)
        tokens, positions, mask, labels = (tensor.to(device) for tensor in tensors)
        heads = tuple(None if head is None else head.to(device) for head in self.heads)
        return BeamTree(tokens, positions, mask, labels, self.columns, levels, heads)
