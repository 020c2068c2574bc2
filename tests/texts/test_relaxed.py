"""Relaxed texts of real models: every token passes the audit, recomputed from scratch."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sidebeam.texts import Drafting, PromptLookup, Relaxed, TextRequest, TextResult, Vocabulary
from sidebeam.texts.engine import TextEngine

from .conftest import END, VOCAB, Pair, make_pair, prompts
from .drafters import Adversary, Clairvoyant

RULES = [
    Relaxed(),
    Relaxed(1, 0.0),
    Relaxed(5, 0.01),
    Relaxed(3, 0.02, keep_protected=True),
    Relaxed(5, 0.01, max_divergence=2.5),
]


@pytest.fixture(scope="module")
def soft() -> Pair:
    """A model that is seldom sure."""
    return make_pair("llama", seed=3, initializer_range=0.12)


def second_best(pair: Pair, prompt: np.ndarray, n: int) -> list[int]:
    """A text that takes the second likeliest token now and then: what a drafter with other tastes would offer."""
    rng = np.random.default_rng(8)
    text = prompt.tolist()
    for _ in range(n):
        order = np.argsort(-pair.probs(text)[-1])
        token = int(order[rng.integers(2)])
        text.append(token)
    return text[len(prompt) :]


def assert_audited(pair: Pair, prompt: np.ndarray, rule: Relaxed, result: TextResult, protected: np.ndarray) -> None:
    tokens = result.tokens.tolist()
    probs = pair.probs([*prompt.tolist(), *tokens])[len(prompt) - 1 :]
    told = {token.position: token for token in result.relaxed}
    assert END not in tokens[:-1]
    for i, token in enumerate(tokens):
        winner = int(np.argmax(probs[i]))
        if token == winner:
            assert i not in told
            continue
        audited = told.pop(i)
        assert (audited.token, audited.argmax) == (token, winner)
        assert audited.rank == 1 + (probs[i] > probs[i][token]).sum() <= rule.k
        assert audited.q == pytest.approx(probs[i][token], rel=1e-3)
        assert audited.q_max == pytest.approx(probs[i][winner], rel=1e-3)
        assert audited.q > rule.p
        assert winner != END
        assert probs[i][END] <= rule.p + 1e-6
        if rule.keep_protected:
            assert not protected[[token, winner]].any()
    assert not told
    assert result.divergence == pytest.approx(sum(token.divergence for token in result.relaxed))
    assert result.divergence <= rule.max_divergence


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_token_passes_the_audit(soft: Pair, rule: Relaxed) -> None:
    protected = np.zeros(VOCAB, np.bool_)
    protected[::3] = True
    engine = TextEngine(soft.packed, Vocabulary(VOCAB, (END,), protected))
    texts = prompts(6, seed=6)
    offers = [second_best(soft, prompt, 24) for prompt in texts]
    drafters = [Clairvoyant(offer, VOCAB, i, 0.9) if i % 3 else Adversary(VOCAB, i) for i, offer in enumerate(offers)]
    requests = [
        TextRequest(prompt, 24, rule, drafter, Drafting("explicit"))
        for prompt, drafter in zip(texts, drafters, strict=True)
    ]
    results = engine.generate(requests)
    for prompt, result in zip(texts, results, strict=True):
        assert_audited(soft, prompt, rule, result, protected)
        if rule.k == 1:
            assert result.tokens.tolist() == soft.greedy(prompt, 24)
    relaxed = sum(len(result.relaxed) for result in results)
    assert relaxed == 0 if rule.k == 1 or rule.p == 0.1 else relaxed > 3


def test_without_drafts_a_relaxed_text_is_greedy(soft: Pair) -> None:
    for prompt in prompts(3, seed=7):
        (result,) = soft.engine().generate([TextRequest(prompt, 24, Relaxed(5, 0.0))])
        assert result.tokens.tolist() == soft.greedy(prompt, 24)
        assert math.isclose(result.divergence, 0)


def test_relaxed_exact_and_sampled_texts_share_passes(soft: Pair) -> None:
    texts = prompts(8, seed=9)
    rules = [Relaxed(5, 0.01), Relaxed(1, 0.5)]
    requests = [TextRequest(p, 20, rules[i % 2], PromptLookup(), Drafting("explicit")) for i, p in enumerate(texts)]
    together = soft.engine().generate(requests)
    for request, result in zip(requests, together, strict=True):
        (alone,) = soft.engine().generate([request])
        assert alone.tokens.tolist() == result.tokens.tolist()
        assert alone.passes == result.passes
