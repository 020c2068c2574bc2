"""Tiny random models of several families: ours under tree attention, and the same one untouched."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from sidebeam.models import KVSlots, PackedModel
from sidebeam.models.tree_attention import ATTENTION, register
from sidebeam.texts import TextEngine, Vocabulary

VOCAB, END, POSITIONS = 90, 2, 96

SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": POSITIONS,
    "initializer_range": 0.3,  # log-probs far apart, so that no choice hangs on rounding
    "bos_token_id": 1,
    "eos_token_id": END,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}

FAMILIES: dict[str, Callable[[dict[str, Any]], PretrainedConfig]] = {
    "llama": lambda shape: LlamaConfig(**shape),
    "qwen2": lambda shape: Qwen2Config(**shape),
    "qwen3": lambda shape: Qwen3Config(**shape, head_dim=16),
    "mistral, sliding window": lambda shape: MistralConfig(**shape, sliding_window=7),
}


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@dataclass(frozen=True)
class Pair:
    """One model twice: `packed` for the engine, `reference` as transformers runs it."""

    packed: PackedModel
    reference: Any
    end: int = END

    def engine(self, **options: Any) -> TextEngine:
        return TextEngine(self.packed, Vocabulary.plain(self.packed.config.vocab_size, [self.end]), **options)

    def greedy(self, prompt: np.ndarray, max_new_tokens: int) -> list[int]:
        """What `generate` of transformers writes."""
        ids = torch.from_numpy(prompt)[None]
        with torch.inference_mode():
            written = self.reference.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=max_new_tokens,
                eos_token_id=self.end,
                pad_token_id=0,
            )
        return [int(token) for token in written[0, len(prompt) :]]

    def probs(self, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
        """Next-token probabilities after each of `tokens`.  # [n, vocab] float64"""
        with torch.inference_mode():
            logits = self.reference(torch.as_tensor(np.asarray(tokens, np.int64))[None]).logits[0]
        return logits.double().softmax(-1).numpy()


def make_pair(family: str, seed: int = 0, slots: int = 8, cells: int = 160, **shape: Any) -> Pair:
    register()
    config = FAMILIES[family]({**SHAPE, **shape})
    torch.manual_seed(seed)
    reference = AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation="sdpa").eval()
    ours = AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation=ATTENTION).eval()
    ours.load_state_dict(reference.state_dict())
    return Pair(PackedModel(ours, KVSlots(slots, cells), np.zeros(1, np.int64), normalise=True), reference)


@pytest.fixture(scope="session", params=list(FAMILIES))
def pair(request: pytest.FixtureRequest) -> Pair:
    return make_pair(request.param)


@pytest.fixture(scope="session")
def llama() -> Pair:
    return make_pair("llama", seed=1)


def prompts(n: int, seed: int = 0, longest: int = 40) -> list[np.ndarray]:
    """Random prompts, some with repetitions."""
    rng = np.random.default_rng(seed)
    return [
        np.tile(rng.integers(3, VOCAB, rng.integers(1, 9)), rng.integers(1, 1 + longest // 9)).astype(np.int64)
        for _ in range(n)
    ]
