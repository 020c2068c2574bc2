"""The baseline that users have today: greedy `generate` of transformers, one text at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForCausalLM

Ints = npt.NDArray[np.int64]


class GreedyBaseline:
    """An unmodified model."""

    def __init__(self, model: Any, ends: Sequence[int]) -> None:
        self._model = model
        self._ends = list(ends)

    @classmethod
    def load(cls, path: Path, ends: Sequence[int], device: str, dtype: str) -> GreedyBaseline:
        """The target's folder, with the library's own attention; `ends` are the end tokens."""
        model = AutoModelForCausalLM.from_pretrained(
            path,
            attn_implementation="sdpa",
            dtype=getattr(torch, dtype),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
        model.generation_config.max_length = None  # the length is set by max_new_tokens alone
        return cls(model.eval().to(device), ends)

    @torch.inference_mode()
    def __call__(self, prompt: Ints, max_new_tokens: int) -> Ints:
        """The text's tokens [n], with its end token."""
        ids = torch.from_numpy(prompt)[None].to(self._model.device)
        written = self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=self._ends or None,
            pad_token_id=self._ends[0] if self._ends else 0,
        )
        tokens: Ints = written[0, len(prompt) :].cpu().numpy()
        return tokens
