"""Sampled texts: the target's distribution, and the same text from a seed whatever is drafted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from sidebeam.knowledge.draft import TextDraft
from sidebeam.texts import (
    Drafting,
    PromptLookup,
    Sampled,
    TextDrafter,
    TextRequest,
    TokenTree,
    Trial,
    Verifier,
    Vocabulary,
)
from sidebeam.texts.draw import drawn
from sidebeam.texts.noise import gumbel

from .conftest import END, VOCAB, Pair, make_pair, prompts
from .drafters import Adversary, Clairvoyant, text_draft
from .oracle import assert_drawn_from, softmax

DRAWS = 20_000
SIZE, LENGTH = 4, 3  # of the toy: 64 texts


def toy_logits(path: tuple[int, ...]) -> np.ndarray:
    """A model whose next token depends on all tokens before it."""
    rng = np.random.default_rng([7, *path])
    return rng.normal(0, 1.2, SIZE).astype(np.float32)


def reweighed(logits: np.ndarray, rule: Sampled) -> np.ndarray:
    """Probabilities by the book: divide, cut to the top k, normalise."""
    scaled = logits.astype(np.float64) / rule.temperature
    if rule.top_k:
        scaled[scaled < np.sort(scaled)[-rule.top_k]] = -np.inf
    return softmax(scaled)


def toy_probs(rule: Sampled) -> np.ndarray:
    """The distribution of texts.  # [SIZE ** LENGTH]"""
    probs = np.ones((SIZE,) * LENGTH)
    for depth in range(LENGTH):
        for path in np.ndindex((SIZE,) * depth):
            probs[path] *= reweighed(toy_logits(path), rule).reshape(-1, *[1] * (LENGTH - depth - 1))
    return probs.ravel()


def toy_texts(rule: Sampled, seeds: range, draft: Callable[[int, int], TextDraft]) -> np.ndarray:
    """One text per seed; `draft(seed, most depth)` is asked before every pass.  # [seeds, LENGTH]"""
    verify = Verifier(Vocabulary.plain(SIZE))
    texts: dict[int, list[int]] = {seed: [] for seed in seeds}
    while unfinished := [seed for seed, text in texts.items() if len(text) < LENGTH]:
        trials, rows = [], []
        for seed in unfinished:
            text = texts[seed]
            tree = TokenTree.of(draft(seed, LENGTH - len(text) - 1))
            trials.append(Trial(tree, Sampled(rule.temperature, rule.top_k, seed), len(text), 0.0))
            paths = [tuple(text)]
            for token, parent in zip(tree.tokens.tolist(), tree.parents.tolist(), strict=True):
                paths.append((*paths[parent + 1], token))
            rows += [toy_logits(path) for path in paths]
        for seed, verdict in zip(unfinished, verify(torch.from_numpy(np.stack(rows)), trials), strict=True):
            texts[seed] += verdict.tokens.tolist()
    return np.array(list(texts.values()))


def no_draft(_: int, __: int) -> TextDraft:
    return TextDraft.empty()


def every_first(_: int, deep: int) -> TextDraft:
    """All tokens as siblings, and below each all of them again."""
    nodes = [(token, -1) for token in range(SIZE)]
    if deep > 1:
        nodes += [(token, parent) for parent in range(SIZE) for token in range(SIZE)]
    return text_draft(nodes if deep else [])


DRAFTS = {"none": no_draft, "all": every_first}


@pytest.mark.parametrize("rule", [Sampled(), Sampled(0.6), Sampled(1.7, 3), Sampled(1.0, 1)], ids=str)
@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize("draws", [1_500, pytest.param(DRAWS, marks=pytest.mark.slow)])
def test_texts_have_the_targets_distribution(rule: Sampled, draft: str, draws: int) -> None:
    texts = toy_texts(rule, range(draws), DRAFTS[draft])
    counts = np.bincount(np.ravel_multi_index(texts.T, (SIZE,) * LENGTH), minlength=SIZE**LENGTH)
    assert_drawn_from(counts, toy_probs(rule))


def test_one_token_has_the_targets_distribution() -> None:
    logits = torch.from_numpy(np.random.default_rng(1).normal(0, 2, 50).astype(np.float32))
    for rule in (Sampled(), Sampled(0.5), Sampled(1.3, 10)):
        trials = [
            Trial(TokenTree.empty(), Sampled(rule.temperature, rule.top_k, seed), 0, 0.0) for seed in range(DRAWS)
        ]
        verdicts = Verifier(Vocabulary.plain(50))(logits.expand(DRAWS, -1), trials)
        counts = np.bincount([int(verdict.tokens[0]) for verdict in verdicts], minlength=50)
        assert_drawn_from(counts, reweighed(logits.numpy(), rule))


def noise(seed: int, positions: Sequence[int], size: int) -> torch.Tensor:
    return gumbel(torch.full((len(positions),), seed), torch.tensor(positions), size)


def test_noise_is_gumbels_and_depends_on_all_it_is_given() -> None:
    known = noise(3, range(8), 20_000)
    uniform = torch.exp(-torch.exp(-known.double()))  # Gumbel's distribution function
    for row in uniform:
        assert_drawn_from(torch.histc(row.float(), 50, 0, 1).numpy(), np.full(50, 1 / 50))
    correlations = torch.corrcoef(uniform) - torch.eye(8)
    assert correlations.abs().max() < 6 / np.sqrt(20_000)
    assert abs(float(torch.corrcoef(torch.stack([uniform[0, :-1], uniform[0, 1:]]))[0, 1])) < 6 / np.sqrt(20_000)
    assert torch.equal(noise(3, [5, 2], 20_000), known[[5, 2]])
    assert torch.equal(noise(3, [4], 90)[0], known[4, :90])
    assert not torch.equal(noise(2**63 - 1, [5], 90), known[5:6, :90])
    assert torch.isfinite(known).all()


def test_noise_is_split_mixs_on_unsigned_words() -> None:
    """The signed arithmetic of torch against Python's own integers."""

    def mixed(word: int) -> int:
        word = (word + 0x9E3779B97F4A7C15) % 2**64
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            word = (word ^ (word >> shift)) * factor % 2**64
        return word ^ (word >> 31)

    for seed in (0, 1, 2**63 - 1):
        ours = noise(seed, [0, 77], 50)
        for row, position in enumerate((0, 77)):
            origin = mixed((mixed(seed) + position * 0x9E3779B97F4A7C15) % 2**64)
            for token in range(50):
                word = mixed((origin + token * 0x9E3779B97F4A7C15) % 2**64)
                uniform = ((word >> 11) + 0.5) / 2**53
                assert float(ours[row, token]) == pytest.approx(-math.log(-math.log1p(-uniform)), abs=1e-5)


def test_noise_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.from_numpy(np.random.default_rng(2).normal(0, 2, (40, 30)).astype(np.float32))
    rules = [Sampled(0.5 + i % 3, [0, 3, 30, 99][i % 4], i % 5) for i in range(40)]
    positions = [i % 7 for i in range(40)]
    whole = drawn(logits, rules, positions)
    alone = [drawn(logits[i : i + 1], rules[i : i + 1], positions[i : i + 1]) for i in range(40)]
    assert torch.equal(whole, torch.cat(alone))
    monkeypatch.setattr("sidebeam.texts.draw.BLOCK", 100)
    assert torch.equal(whole, drawn(logits, rules, positions))


@pytest.mark.parametrize("rule", [Sampled(1.0, 0, 11), Sampled(0.4, 5, 12), Sampled(1e-30, 0, 13)], ids=str)
def test_a_seed_draws_the_same_text_whatever_is_drafted(llama: Pair, rule: Sampled) -> None:
    engine = llama.engine()
    for prompt in prompts(3, seed=4):
        (plain,) = engine.generate([TextRequest(prompt, 30, rule)])
        drafters: list[TextDrafter] = [PromptLookup(), Adversary(VOCAB), Clairvoyant(plain.tokens.tolist(), VOCAB)]
        requests = [
            TextRequest(prompt, 30, rule, drafter, Drafting(mode))
            for drafter in drafters
            for mode in ("auto", "explicit")
        ]
        results = engine.generate(requests)
        assert [result.tokens.tolist() for result in results] == [plain.tokens.tolist()] * len(requests)
        assert results[-1].passes < plain.passes or plain.passes == 1
        if rule.temperature < 1e-20:
            assert plain.tokens.tolist() == llama.greedy(prompt, 30)


def test_seeds_differ(llama: Pair) -> None:
    (prompt,) = prompts(1, seed=5)
    results = llama.engine().generate([TextRequest(prompt, 20, Sampled(1.5, 0, seed)) for seed in range(8)])
    assert len({tuple(result.tokens.tolist()) for result in results}) == 8


@pytest.mark.slow
@pytest.mark.parametrize("drafter", ["none", "prompt lookup", "adversary"])
def test_the_engine_draws_as_plain_sampling_does(drafter: str) -> None:
    """The first two tokens of a real model, over as many seeds; rows of one pass belong to sixty-four texts."""
    pair = make_pair("llama", slots=64, cells=32, vocab_size=8, initializer_range=0.2)
    prompt = np.array([1, 5, 3, 5, 3])
    first = pair.probs(prompt)[-1]
    joint = np.stack([first[token] * pair.probs([*prompt, token])[-1] for token in range(8)])
    joint[END] = 0
    joint[END, 0] = first[END]  # an end alone
    made: dict[str, Callable[[int], TextDrafter | None]] = {
        "none": lambda _: None,
        "prompt lookup": lambda _: PromptLookup(),
        "adversary": lambda seed: Adversary(8, seed),
    }
    requests = [
        TextRequest(prompt, 2, Sampled(1.0, 0, seed), made[drafter](seed), Drafting("explicit", rows=8))
        for seed in range(DRAWS)
    ]
    counts = np.zeros((8, 8))
    for result in pair.engine().generate(requests):
        one, two = (*result.tokens.tolist(), 0)[:2]
        counts[one, two] += 1
    assert_drawn_from(counts.ravel(), joint.ravel())
