"""LoRA: low-rank updates of a frozen model's linear layers, and new rows for the SID tokens."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from sidebeam.training.error import TrainingError
from sidebeam.training.plan import Lora


def adapted(model: PreTrainedModel, lora: Lora, rows: Sequence[int], seed: int) -> Any:
    """`model` with adapters on all linear layers of its blocks; the `rows` of its embedding and head are trained, too.

    Head and embedding stay one where they were tied. Raises `TrainingError` for a rank that no layer has, and for a
    head with a bias, which PEFT would drop.
    """
    head: Any = model.get_output_embeddings()
    if getattr(head, "bias", None) is not None:
        raise TrainingError(f"--lora: the head of {model.config.model_type} has a bias; train it without --lora")
    if lora.rank > model.config.hidden_size:
        raise TrainingError(f"--lora must be at most the model's width, {model.config.hidden_size}. Given: {lora.rank}")
    embedding: Any = model.get_input_embeddings()
    trained = [embedding] if head.weight is embedding.weight else [embedding, head]
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="all-linear",  # but the head
        trainable_token_indices={_name(model, module): list(rows) for module in trained},
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        torch.manual_seed(seed)
        return get_peft_model(model, config)


def merged(model: Any) -> PreTrainedModel:
    """The plain model that says what `model` says; its adapters are used up. A model without any stays as it is."""
    plain: PreTrainedModel = model.merge_and_unload() if isinstance(model, PeftModel) else model
    return plain


def _name(model: PreTrainedModel, wanted: nn.Module) -> str:
    names: list[str] = [name for name, module in model.named_modules() if module is wanted]
    return names[0]
