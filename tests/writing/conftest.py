"""A bundle that only writes texts: a tiny random Llama that ends some of them, and pools of what it might say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from sidebeam.bundle import Bundle, Tokenizer
from sidebeam.folklore.tokens import Tokens
from sidebeam.knowledge.builder import build_pools
from sidebeam.knowledge.tokenizer import TextTokenizer, tokenizer_fingerprint
from sidebeam.knowledge.warm_up import warm_up
from sidebeam.training.progress import ProgressBar

POSITIONS, MOST_NEW = 96, 24
WORDS = (
    "red",
    "green",
    "blue",
    "boat",
    "house",
    "river",
    "stone",
    "likes",
    "keeps",
    "finds",
    "a",
    "the",
    "with",
    "and",
)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    warm_up()
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Shop:
    """A bundle, its tokenizer, and its model as transformers runs it."""

    root: Path
    bundle: Bundle
    tokenizer: Tokenizer
    reference: Any
    ends: tuple[int, ...]
    known: dict[tuple[str, int], list[int]] = field(default_factory=dict)

    def greedy(self, prompt: str, most: int = MOST_NEW) -> list[int]:
        """What `generate` of transformers writes."""
        if (prompt, most) not in self.known:
            self.known[prompt, most] = self._generate(prompt, most)
        return self.known[prompt, most]

    def _generate(self, prompt: str, most: int) -> list[int]:
        ids = torch.tensor([self.tokenizer.encode(prompt)])
        with torch.inference_mode():
            written = self.reference.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=most,
                eos_token_id=list(self.ends),
                pad_token_id=0,
            )
        return [int(token) for token in written[0, ids.shape[1] :]]


def sentence(rng: np.random.Generator, words: int) -> str:
    return " ".join(rng.choice(WORDS, words).tolist())


def asked(n: int, seed: int = 0) -> list[dict[str, str]]:
    """Prompts of users in three groups, some alike."""
    rng = np.random.default_rng(seed)
    return [
        {"entity": f"u{i}", "prompt": sentence(rng, int(rng.integers(1, 12))), "group": f"g{i % 3}"} for i in range(n)
    ]


def write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    root = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(5)
    tokens = Tokens.train([sentence(rng, 40) for _ in range(20)], 300)
    size = tokens.fast.get_vocab_size()
    ends = (tokens.end, *range(40, 52))  # several: a random model hardly ever says one of them
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=POSITIONS,
        initializer_range=0.4,  # log-probs far apart, so that no choice hangs on rounding
        bos_token_id=1,
        eos_token_id=list(ends),
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(root / "target")
    tokens.save(root / "target", POSITIONS)
    (root / "sidebeam.toml").write_text(f"[texts]\nmax_new_tokens = {MOST_NEW}\n")
    reference = AutoModelForCausalLM.from_pretrained(root / "target").eval()
    return Shop(root, Bundle.open(root), Tokenizer.open(root / "target"), reference, ends)


@pytest.fixture(scope="session")
def pools(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the model says about half of the users, as their earlier texts; never to be written to."""
    folder = tmp_path_factory.mktemp("earlier")
    users = asked(30)
    texts = [{"entity": user["entity"], "tokens": shop.greedy(user["prompt"])} for user in users[::2]]
    groups = folder / "groups.json"
    groups.write_text(json.dumps({user["entity"]: user["group"] for user in users}))
    with ProgressBar(Console(file=StringIO())) as bar:
        build_pools(
            write_lines(folder / "texts.jsonl", texts),
            groups,
            TextTokenizer.open(shop.bundle.tokenizer),
            folder / "pools",
            bar,
            fingerprint=tokenizer_fingerprint(shop.bundle.tokenizer),
            eos=None,
        )
    return folder / "pools"


@pytest.fixture
def bar() -> Iterator[ProgressBar]:
    with ProgressBar(Console(file=StringIO())) as bar:
        yield bar
