"""One forward over a tree: every prompt once, its beams beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from sidebeam.alignment.beam_tree import BeamTree

FAR = -1e4  # stands for -inf: its exponential is 0, its multiples stay numbers, and so do their gradients


def hidden_rows(model: PreTrainedModel, batch: BeamTree) -> list[Tensor]:
    """The states that logits are made of, by use.  # [B, columns[i], hidden] each

    Through the model's own forward, so that what wraps it (mixed precision, several processes) takes part.
    """
    out = model(
        input_ids=batch.tokens,
        attention_mask=batch.mask,
        position_ids=batch.positions,
        use_cache=False,
        output_hidden_states=True,
        logits_to_keep=1,
    )
    rows: Tensor = out.hidden_states[-1][:, -sum(batch.columns) :]
    return list(torch.split(rows, list(batch.columns), dim=1))


def logits_of(model: Any, hidden: Tensor, tokens: Tensor | None = None) -> Tensor:
    """Logits of states, of all tokens or these alone, whatever wraps the model.  # [..., tokens]"""
    head = getattr(model, "module", model).get_output_embeddings()
    if tokens is None:
        return F.linear(hidden, head.weight, head.bias).float()
    return F.linear(hidden, head.weight[tokens], None if head.bias is None else head.bias[tokens]).float()


def child_log_probs(model: PreTrainedModel, rows: Sequence[Tensor], batch: BeamTree) -> list[Tensor]:
    """Log-probs of each depth's beams' children, `FAR` in padding, from `hidden_rows`.  # [B, K, C] of each depth

    Over live children alone where the batch cuts the head to what can follow, else over the vocabulary.
    """
    found = []
    for hidden, tokens, level in zip(rows, batch.heads, batch.levels, strict=False):  # the last rows are the label's
        logits = logits_of(model, hidden, tokens)  # [B, K, V or tokens]
        chosen = logits.gather(-1, level.choice)
        if tokens is None:
            found.append((chosen - logits.logsumexp(dim=-1, keepdim=True)).masked_fill(~level.live, FAR))
        else:
            found.append(within(chosen, level.live))
    return found


def within(values: Tensor, live: Tensor) -> Tensor:
    """Log-softmax over the live entries of the last dimension, `FAR` elsewhere."""
    return values.masked_fill(~live, FAR).log_softmax(dim=-1).masked_fill(~live, FAR)
