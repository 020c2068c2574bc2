"""From a bundle to engines that are ready to answer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sidebeam.bundle import Bundle
from sidebeam.catalog import Catalog
from sidebeam.engine.draft_model import DraftModel
from sidebeam.engine.engine import Engine
from sidebeam.models import KVSlots, ModelError, PackedModel, load_model
from sidebeam.models.loading import DType
from sidebeam.search.request import Scoring

SLOTS = 16  # requests that hold KV at once: enough to fill a pass, little enough to bound memory
MAX_PROMPT_TOKENS = 512  # where the model allows it: LC-Rec's longest Beauty prompt has 180
TREE_CELLS = 640  # beyond the prompt: beams of K = 20 with all their descendants need at most some hundred


def load_target(
    bundle: Bundle,
    catalog: Catalog,
    *,
    device: str = "cpu",
    dtype: DType = "float32",
    threads: int | None = None,
    slots: int = SLOTS,
    max_prompt_tokens: int | None = None,
    max_memory: Mapping[int | str, int | str] | None = None,
    offload_folder: Path | None = None,
) -> Engine:
    """Load the target. Raises ModelError if it does not fit the catalog or cannot be loaded."""
    if threads is not None:
        torch.set_num_threads(threads)
    model = load_model(bundle.target, device=device, dtype=dtype, max_memory=max_memory, offload_folder=offload_folder)
    longest = longest_prompt(model, catalog, max_prompt_tokens)
    packed = packed_for(model, catalog, bundle.scoring, slots, longest + TREE_CELLS)
    return Engine(packed, catalog, bundle.scoring, longest, bundle.defaults.draft_beams)


def load_draft(
    bundle: Bundle,
    catalog: Catalog,
    *,
    device: str = "cpu",
    dtype: DType = "float32",
    threads: int | None = None,
    slots: int = SLOTS,
    max_prompt_tokens: int | None = None,
) -> DraftModel:
    """Load the draft model. Raises ModelError if the bundle has none, or it does not fit the catalog."""
    if bundle.draft is None:
        raise ModelError("the bundle has no [draft]")
    if threads is not None:
        torch.set_num_threads(threads)
    model = load_model(bundle.draft, device=device, dtype=dtype)
    longest = longest_prompt(model, catalog, max_prompt_tokens)
    packed = packed_for(model, catalog, bundle.draft_scoring, slots, longest + TREE_CELLS)
    return DraftModel(packed, catalog, bundle.scoring, longest)


def packed_for(model: Any, catalog: Catalog, scoring: Scoring, slots: int, cells: int) -> PackedModel:
    """A model with KV slots, whose scores are a catalog's. Raises ModelError if it does not have all the tokens."""
    alphabet = catalog.trie.alphabet.astype(np.int64)
    vocab_size = int(model.config.vocab_size)
    if alphabet[-1] >= vocab_size:
        raise ModelError(f"the catalog's token ids reach {alphabet[-1]}; the model's vocabulary has only {vocab_size}")
    return PackedModel(model, KVSlots(slots, cells), alphabet, normalise=scoring == "raw")


def longest_prompt(model: Any, catalog: Catalog, asked: int | None) -> int:
    """In tokens, with a SID after it. Raises ModelError if the model cannot take one that long."""
    positions = int(model.config.max_position_embeddings)
    room = positions - catalog.depth + 1  # the last SID token is never fed
    if room < 1:
        raise ModelError(f"the model has {positions} positions; SIDs of {catalog.depth} tokens leave no prompt")
    if asked is not None and not 1 <= asked <= room:
        raise ModelError(f"max_prompt_tokens must be 1 to {room} for this model; given {asked}")
    return min(room, asked if asked is not None else MAX_PROMPT_TOKENS)
