"""What a user has today: transformers `generate` with beams under a trie, on an unmodified model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from sidebeam.catalog import Catalog
from sidebeam.evaluation.generate import GenerateBaseline


def load_reference(path: Path, **options: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(path, attn_implementation="sdpa", **options).eval()


def generate(path: Path, catalog: Catalog, prompt: np.ndarray, k: int) -> tuple[list[int], np.ndarray]:
    """Leaves, best first, and their log-probs."""
    return GenerateBaseline(load_reference(path), catalog)(prompt, k)


def path_log_prob(model: Any, prompt: np.ndarray, sid: np.ndarray) -> float:
    """Log-prob of one SID, recomputed from scratch one path at a time."""
    tokens = torch.from_numpy(np.concatenate([prompt, sid]))[None]
    with torch.inference_mode():
        log_probs = model(tokens).logits[0].float().log_softmax(-1)
    at = len(prompt) - 1 + torch.arange(len(sid))
    return float(log_probs[at, torch.from_numpy(sid)].sum())
