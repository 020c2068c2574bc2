"""What tests of several packages share: a bundle that is tiny, random and real."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

LEVELS = "abcd"
CODES = 6  # tokens of each level
ITEMS = 60
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compiled catalogs of test bundles must not fill the user's cache."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A shell that starts the tests in the background ignores SIGINT, and their child processes would, too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer target, a one-layer draft and 60 items "i0".."i59", of which the last four share others' SIDs."""
    root = tmp_path_factory.mktemp("tiny")
    tokens = ["<pad>", "<s>", "</s>", *(f"<{level}_{code}>" for level in LEVELS for code in range(CODES))]
    _save_tokenizer(root / "target", tokens)
    _save_model(root / "target", len(tokens), layers=2, seed=1)
    _save_model(root / "draft", len(tokens), layers=1, seed=2)
    (root / "items.json").write_text(json.dumps(_sids()))
    (root / "sidebeam.toml").write_text(
        '[target]\npath = "target"\n[draft]\npath = "draft"\n[catalog]\nitems = "items.json"\n'
        '[prompt]\ntemplate = "{history}"\nitem_separator = ""\nmax_history = 8\n'
        "[defaults]\ntop_k = 5\ndraft_beams = 12\n"
    )
    return root


@pytest.fixture(scope="session")
def beauty() -> Path:
    """The bundle trained on Amazon Beauty, where it lies beside the project; elsewhere its tests are skipped."""
    folder = SHARED / "bundles" / "beauty"
    if not folder.is_dir():
        pytest.skip("the Beauty bundle is not beside the project")
    return folder


@pytest.fixture(scope="session")
def histories(beauty: Path) -> list[list[str]]:
    """Item ids of every Beauty user that has test items, oldest first."""
    from sidebeam.evaluation.recommend_bench import read_histories

    return read_histories(SHARED / "data" / "beauty" / "interactions.jsonl", 1)


def _sids() -> dict[str, list[str]]:
    import numpy as np

    random = np.random.default_rng(7)
    distinct = ITEMS - 4
    numbers = random.choice(CODES ** len(LEVELS), distinct, replace=False)
    codes = np.stack(np.unravel_index(numbers, (CODES,) * len(LEVELS)), axis=1)
    codes = np.concatenate([codes, codes[[3, 3, 17, 40]]])
    return {
        f"i{item}": [f"<{level}_{code}>" for level, code in zip(LEVELS, row, strict=True)]
        for item, row in enumerate(codes.tolist())
    }


def _save_tokenizer(folder: Path, tokens: list[str]) -> None:
    from tokenizers import AddedToken, Regex, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from tokenizers.processors import TemplateProcessing

    folder.mkdir()
    tokenizer = Tokenizer(WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = Split(Regex(r"<[a-d]_\d+>"), behavior="isolated")
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in tokens[:3]])
    tokenizer.save(str(folder / "tokenizer.json"))


def _save_model(folder: Path, vocab_size: int, layers: int, seed: int) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.4,  # log-probs far apart, so that no ranking hangs on rounding
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
