"""Texts as vectors, by a transformers model: mean pooling over tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from sidebeam.downstream.error import DownstreamError
from sidebeam.grouping.embeddings import Vectors

LONGEST = 512  # tokens; what is beyond is cut off, as in LASER
BATCH = 32


class Encoder(Protocol):
    """Anything that makes vectors of texts."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One vector per text, of length 1.  # [texts, dim]"""


class TransformerEncoder:
    """Any model folder that transformers opens: the last hidden states' mean over a text's tokens.

    Raises `DownstreamError` for a folder that holds no model and tokenizer.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            self._model: Any = AutoModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
            ).eval()
        except Exception as error:  # what a folder that is no model raises depends on what it lacks
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DownstreamError(f"--encoder {folder}: cannot be opened: {reason}") from None
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token or self._tokenizer.unk_token
        if self._tokenizer.pad_token is None:
            raise DownstreamError(f"--encoder {folder}: its tokenizer has no token to pad with")
        self._tokenizer.padding_side = "right"
        positions = getattr(self._model.config, "max_position_embeddings", LONGEST) or LONGEST
        self._longest = min(LONGEST, positions)

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Vectors:
        """One vector per text, of length 1; all zeros for a text without tokens.  # [texts, dim]"""
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        vectors = np.zeros((len(texts), int(self._model.config.hidden_size)), dtype=np.float32)
        for at in range(0, len(order), BATCH):
            places = order[at : at + BATCH]
            batch = self._tokenizer(
                [texts[place] for place in places],
                return_tensors="pt",
                padding=True,
                truncation=True,
                max_length=self._longest,
            )
            mask = batch["attention_mask"]  # [B, T]
            if mask.shape[1]:
                states = self._model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
                kept = mask[:, :, None].to(states.dtype)
                means = (states * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)  # [B, dim]
                vectors[places] = torch.nn.functional.normalize(means.float(), dim=1).numpy()
        return vectors
