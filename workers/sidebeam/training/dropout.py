"""Dropout while training, for models whose configuration may know none. What is saved never shows it."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from sidebeam.training.error import TrainingError

BRANCHES = ("self_attn", "mlp")  # of a block, as Llama, Mistral, Qwen, Gemma and their like name them


def add_dropout(model: PreTrainedModel, share: float) -> None:
    """Drops `share` of attention probabilities and of what the branches of each block add to the residual stream.

    Families with dropout modules of their own have theirs set. Raises `TrainingError` for a family with neither.
    """
    own = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    for module in own:
        module.p = share
    branches = [] if own else [m for name, m in model.named_modules() if name.rpartition(".")[2] in BRANCHES]
    for branch in branches:
        branch.register_forward_hook(_drop(share))
    attentions: list[Any] = [m for m in model.modules() if hasattr(m, "attention_dropout")]
    for attention in attentions:
        attention.attention_dropout = share
    if not own and not (branches and attentions):
        raise TrainingError(f"--dropout: not known how in {model.config.model_type}; leave it out. Given: {share}")


def _drop(share: float) -> Any:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        if not module.training:
            return output
        if isinstance(output, tuple):  # of an attention, with its weights
            return (F.dropout(output[0], share), *output[1:])
        return F.dropout(output, share)

    return hook
