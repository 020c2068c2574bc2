"""Told texts come in any number, the same for the same seed, and are varied where they repeat."""

from __future__ import annotations

import numpy as np

from sidebeam.folklore.knowledge_world import KnowledgeWorld
from sidebeam.folklore.told_texts import VARIED, ToldTexts

WORLD = KnowledgeWorld.build(aisles=2, circles=2)


def test_texts_are_repeated_with_variation() -> None:
    source = ToldTexts(WORLD, told=3000)
    texts = source.texts(20_000, seed=1)
    again = source.texts(20_000, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(texts, again, strict=True))
    assert 20_000 <= sum(map(len, texts)) < 20_400
    assert len({text[-1] for text in texts}) == 1
    first = np.cumsum([len(text) for text in texts]).searchsorted(3000) + 1  # texts until 3,000 tokens are told
    changed = [np.mean(texts[i] != texts[i % first]) for i in range(first, 2 * first)]
    assert 0 < np.mean(changed) < 2 * VARIED


def test_another_seed_tells_of_others() -> None:
    source = ToldTexts(WORLD)
    one, other = ({text.tobytes() for text in source.texts(3000, seed=seed)} for seed in (1, 2))
    assert not one & other
