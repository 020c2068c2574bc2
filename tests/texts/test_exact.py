"""Exact texts against greedy `generate`, for every family, drafter and mixture of texts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sidebeam.texts import Drafting, MergedDrafter, PromptLookup, TextDrafter, TextRequest, TextResult

from .conftest import END, FAMILIES, VOCAB, Pair, make_pair, prompts
from .drafters import Adversary, Clairvoyant

DRAFTERS: dict[str, Callable[[list[int], int], TextDrafter | None]] = {
    "none": lambda answer, seed: None,
    "prompt lookup": lambda answer, seed: PromptLookup(),
    "clairvoyant": lambda answer, seed: Clairvoyant(answer, VOCAB, seed),
    "adversary": lambda answer, seed: Adversary(VOCAB, seed),
    "merged": lambda answer, seed: MergedDrafter(
        [PromptLookup(), Clairvoyant(answer, VOCAB, seed), Adversary(VOCAB, seed)], [0, 1, 10]
    ),
}


def assert_greedy(result: TextResult, wanted: list[int]) -> None:
    assert result.tokens.tolist() == wanted
    assert result.stop == ("end" if wanted[-1] == END else "max_new_tokens")
    assert result.relaxed == ()
    assert result.draft_error is None


@pytest.fixture(params=["torch", "packed"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sets of CPU kernels, whichever is the faster on this machine."""
    monkeypatch.setattr("sidebeam.models.cpu_kernels.wins_race", lambda _: request.param == "packed")


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("family", FAMILIES)
def test_equal_to_generate(family: str) -> None:
    pair = make_pair(family)
    engine = pair.engine(pass_rows=64)
    for i, prompt in enumerate(prompts(3)):
        wanted = pair.greedy(prompt, 40)
        for drafter in DRAFTERS.values():
            for mode in ("auto", "explicit"):
                request = TextRequest(prompt, 40, drafter=drafter(wanted, i), drafting=Drafting(mode))
                (result,) = engine.generate([request])
                assert_greedy(result, wanted)


@pytest.mark.parametrize("drafter", DRAFTERS)
def test_equal_to_generate_with_many_texts_in_flight(llama: Pair, drafter: str) -> None:
    engine = llama.engine(pass_rows=48)  # a prompt of 40 tokens next to 7 texts does not fit: prompts come in chunks
    requests, wanted = [], []
    for i, prompt in enumerate(prompts(16, seed=1)):
        wanted.append(llama.greedy(prompt, 5 + 3 * i))
        draft = DRAFTERS[drafter](wanted[-1], i)
        drafting = Drafting("explicit", rows=16) if i % 3 else Drafting("auto")
        requests.append(TextRequest(prompt, 5 + 3 * i, drafter=draft, drafting=drafting))
    for result, tokens in zip(engine.generate(requests), wanted, strict=True):
        assert_greedy(result, tokens)


def test_a_drafter_that_knows_the_text_saves_most_passes(llama: Pair) -> None:
    engine = llama.engine()
    for prompt in prompts(4, seed=2):
        wanted = llama.greedy(prompt, 40)
        for sight, most in ((0.8, 0.6), (1.0, 0.2)):
            drafter = Clairvoyant(wanted, VOCAB, sight=sight)
            (result,) = engine.generate([TextRequest(prompt, 40, drafter=drafter, drafting=Drafting("explicit"))])
            assert_greedy(result, wanted)
            assert result.passes <= max(2, most * len(wanted))
            assert result.accepted + result.passes in (len(wanted), len(wanted) + 1)  # one by itself, or a drafted end
            assert result.rows == len(prompt) + result.drafted + result.passes - 1


def test_a_prompt_in_chunks_is_one_prompt(pair: Pair) -> None:
    prompt = np.random.default_rng(3).integers(3, VOCAB, 60)
    wanted = pair.greedy(prompt, 12)
    for rows in (8, 13, 59, 60, 61):
        (result,) = pair.engine(max_open=1, pass_rows=rows).generate([TextRequest(prompt, 12)])
        assert_greedy(result, wanted)
        assert result.passes == -(-60 // rows) + len(wanted) - 1


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 8])
def test_two_hundred_prompts_and_many_models(batch: int) -> None:
    families = list(FAMILIES)
    checked = 0
    for seed in range(8):
        pair = make_pair(families[seed % len(families)], seed=10 + seed)
        engine = pair.engine(max_open=batch)
        texts = prompts(26, seed=seed)
        wanted = [pair.greedy(prompt, 48) for prompt in texts]
        for drafter in DRAFTERS.values():
            requests = [
                TextRequest(prompt, 48, drafter=drafter(answer, i), drafting=Drafting("explicit" if i % 2 else "auto"))
                for i, (prompt, answer) in enumerate(zip(texts, wanted, strict=True))
            ]
            for result, tokens in zip(engine.generate(requests), wanted, strict=True):
                assert_greedy(result, tokens)
        checked += len(texts)
    assert checked >= 200
