"""A draft model's trees against its probabilities one path at a time, and texts written with it."""

from __future__ import annotations

import numpy as np
import pytest

from sidebeam.knowledge.draft import ABOVE
from sidebeam.texts import Drafting, MergedDrafter, ModelDrafter, PromptLookup, Relaxed, Sampled, TextRequest
from sidebeam.texts.model_drafter import CHILDREN, FLOOR

from .conftest import FAMILIES, POSITIONS, Pair, make_pair, prompts
from .test_token_tree import paths


@pytest.fixture(scope="module", params=["llama", "mistral, sliding window"])
def soft(request: pytest.FixtureRequest) -> Pair:
    return make_pair(request.param, seed=4, slots=2, initializer_range=0.4)


def test_probs_are_those_of_each_path(soft: Pair) -> None:
    drafter = ModelDrafter(soft.packed)
    rng = np.random.default_rng(0)
    drafted = 0
    for prompt in prompts(6, seed=11):
        session = drafter.open(prompt)
        text = prompt.tolist()
        for _ in range(4):
            draft = session.draft(24, 5)
            assert len(draft) <= 24
            drafted += len(draft)
            for node, path in enumerate(paths(draft.tokens, draft.parents)):
                assert len(path) <= 5
                probs = soft.probs([*text, *path])[len(text) - 1 :]
                joint = np.prod([probs[i][token] for i, token in enumerate(path)])
                assert draft.probs[node] == pytest.approx(joint, rel=1e-3)
                assert joint >= FLOOR * 0.999
            likeliest = np.argsort(-soft.probs(text)[-1])[:CHILDREN]
            first = draft.tokens[draft.parents == ABOVE].tolist()
            wanted = [token for token in likeliest.tolist() if soft.probs(text)[-1][token] >= FLOOR]
            assert first == wanted or len(draft) == 24
            again = session.draft(24, 5)
            assert again.tokens.tolist() == draft.tokens.tolist()
            more = rng.integers(3, 90, rng.integers(1, 4))
            session.extend(more)
            text += more.tolist()
        session.close()
        session.close()
    assert drafted > 100
    assert soft.packed.slots.n_free == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_a_draft_model_that_is_the_target_knows_the_text(family: str) -> None:
    target, draft = make_pair(family, seed=5), make_pair(family, seed=5, slots=3)
    engine = target.engine(max_open=4)  # one more than the draft has slots
    drafter = ModelDrafter(draft.packed)
    texts = prompts(8, seed=12)
    wanted = [target.greedy(prompt, 40) for prompt in texts]
    requests = [TextRequest(prompt, 40, drafter=drafter, drafting=Drafting("explicit")) for prompt in texts]
    results = engine.generate(requests)
    assert [result.tokens.tolist() for result in results] == wanted
    assert [result.draft_error for result in results] == [None] * 8
    assert draft.packed.slots.n_free == 3
    (alone,) = engine.generate(requests[:1])
    assert alone.passes < 0.6 * len(wanted[0])


def test_any_text_is_the_same_with_another_draft_model(llama: Pair) -> None:
    drafter = MergedDrafter([ModelDrafter(make_pair("qwen2", seed=6).packed), PromptLookup()], [0, 1])
    engine = llama.engine()
    for prompt in prompts(3, seed=13):
        for rule in (Sampled(0.8, 20, 5), Relaxed(1, 0.0)):
            (plain,) = engine.generate([TextRequest(prompt, 500, rule)])
            (drafted,) = engine.generate([TextRequest(prompt, 500, rule, drafter, Drafting("explicit"))])
            assert drafted.tokens.tolist() == plain.tokens.tolist()
            assert drafted.draft_error is None


def test_a_text_longer_than_the_draft_model_goes_on_without_it(llama: Pair) -> None:
    short = ModelDrafter(make_pair("llama", seed=1, cells=30).packed)
    assert short.longest == 30 < POSITIONS
    prompt = prompts(1, seed=14)[0][:8]
    request = TextRequest(prompt, 60, drafter=short, drafting=Drafting("explicit"))
    (result,) = llama.engine().generate([request])
    assert result.tokens.tolist() == llama.greedy(prompt, 60)
    assert result.draft_error is None
    assert result.accepted > 0
