"""Tiny random models of every family, with a catalog of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
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

from sidebeam.bundle import Bundle, Defaults, PromptFormat
from sidebeam.catalog import Catalog

SHAPE: dict[str, Any] = {
    "vocab_size": 90,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}

FAMILIES: dict[str, Callable[[], PretrainedConfig]] = {
    "llama": lambda: LlamaConfig(**SHAPE),
    "llama, tied": lambda: LlamaConfig(**{**SHAPE, "tie_word_embeddings": True}),
    "qwen2": lambda: Qwen2Config(**SHAPE),
    "qwen3": lambda: Qwen3Config(**SHAPE, head_dim=16),
    "mistral": lambda: MistralConfig(**SHAPE, sliding_window=None),
    "mistral, sliding window": lambda: MistralConfig(**SHAPE, sliding_window=7),
}


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    rng = np.random.default_rng(0)
    sids = rng.integers(0, 8, (150, 4)) * [1, 1, 1, 1] + np.array([3, 13, 23, 33])
    return Catalog.build([str(i) for i in range(len(sids))], sids)


@pytest.fixture(scope="session", params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The saved model of a family, made on first use."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            torch.manual_seed(0)
            made[family] = tmp_path_factory.mktemp("model")
            AutoModelForCausalLM.from_config(FAMILIES[family]()).save_pretrained(made[family])
        return made[family]

    return folder


@pytest.fixture(scope="session")
def bundle_of(model_folder: Callable[[str], Path]) -> Callable[..., Bundle]:
    """A bundle around a family's model; the draft is another family's."""

    def bundle(family: str, scoring: str = "raw", draft: str | None = None, draft_scoring: str = "catalog") -> Bundle:
        target = model_folder(family)
        return Bundle(
            root=target,
            target=target,
            draft=None if draft is None else model_folder(draft),
            tokenizer=target,
            items=target / "items.json",
            scoring=scoring,  # type: ignore[arg-type]
            prompt=PromptFormat(),
            defaults=Defaults(),
            draft_scoring=draft_scoring,  # type: ignore[arg-type]
        )

    return bundle
