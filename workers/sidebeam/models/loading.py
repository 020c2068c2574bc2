"""Load a transformers folder and spread it over the devices that Accelerate plans."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import dispatch_model, infer_auto_device_map
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from sidebeam.models.tree_attention import ATTENTION, register

DType = Literal["float32", "bfloat16", "float16"]


class ModelError(ValueError):
    """The folder holds no model that Sidebeam can run; the message says why."""


def load_model(
    path: Path,
    *,
    device: str = "cpu",
    dtype: DType = "float32",
    max_memory: Mapping[int | str, int | str] | None = None,
    offload_folder: Path | None = None,
) -> Any:
    """A causal LM in evaluation mode with tree attention.

    With `max_memory` (bytes or "2GiB" per device index, "cpu", "disk") Accelerate decides which layer goes where;
    otherwise everything is on `device`. Raises ModelError for an unreadable or unsupported model.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    transformers_logging.disable_progress_bar()
    register()
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            path,
            config=copy.deepcopy(config),
            dtype=getattr(torch, dtype),
            attn_implementation=ATTENTION,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        ).eval()
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(f"{path.name}: cannot be loaded: {error}") from error
    _check(model, path)
    if max_memory is None:
        return model.to(device)
    return shard(model, max_memory, offload_folder)


def shard(model: Any, max_memory: Mapping[int | str, int | str], offload_folder: Path | None) -> Any:
    """Let Accelerate plan a device for every block and put the blocks there."""
    device_map = infer_auto_device_map(
        model,
        max_memory=dict(max_memory),
        no_split_module_classes=list(model._no_split_modules or ()),
        dtype=model.dtype,
    )
    if len(set(device_map.values())) == 1:
        (only,) = set(device_map.values())
        if only != "disk":
            return model.to(only)
    if "disk" in device_map.values() and offload_folder is None:
        raise ModelError("the model does not fit into max_memory; give an offload folder, or more memory")
    return dispatch_model(model, device_map=device_map, offload_dir=offload_folder)


def _check(model: Any, path: Path) -> None:
    if model.config._attn_implementation != ATTENTION:
        raise ModelError(f"{path.name}: {type(model).__name__} does not take an attention function of ours")
    if getattr(model.config, "is_encoder_decoder", False):
        raise ModelError(f"{path.name}: {type(model).__name__} is an encoder-decoder; a causal LM is needed")
