"""Texts about as alike as knowledge about users is: the same sentences in the same order, each said in some ways."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]

VOCABULARY = 32_000
SENTENCES, WAYS = 12, 60  # of a text; of saying each of them
SHORTEST, LONGEST = 12, 28  # tokens of a sentence
SLOTS = 2  # tokens of a sentence that tell of the entity
NOISE = 0.02  # tokens that are anything
EOS = 2


class TextSource:
    """Draws texts of about 250 tokens, the last one `EOS`; the same seed draws the same."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._steps = np.cumsum(_zipf(VOCABULARY - 10, 1.05))
        self._ways = _zipf(WAYS, 1.0)
        self._bank = [
            [self._draw(rng, int(rng.integers(SHORTEST, LONGEST + 1))) for _ in range(WAYS)] for _ in range(SENTENCES)
        ]

    def texts(self, tokens: int, seed: int) -> list[Ints]:
        """Texts of that many tokens in all, or a few more."""
        rng = np.random.default_rng(seed)
        found: list[Ints] = []
        total = 0
        while total < tokens:
            ways = rng.choice(WAYS, SENTENCES, p=self._ways)
            text = np.concatenate([bank[way] for bank, way in zip(self._bank, ways, strict=True)])
            other = rng.random(len(text)) < NOISE
            other[rng.integers(0, len(text), SLOTS * SENTENCES)] = True
            text[other] = self._draw(rng, int(other.sum()))
            text = np.append(text, np.int32(EOS))
            found.append(text)
            total += len(text)
        return found

    def _draw(self, rng: np.random.Generator, count: int) -> Ints:
        words = np.searchsorted(self._steps, rng.random(count))
        return (np.minimum(words, VOCABULARY - 11) + 10).astype(np.int32)


def _zipf(count: int, power: float) -> npt.NDArray[np.float64]:
    weights = 1 / np.arange(1, count + 1) ** power
    probabilities: npt.NDArray[np.float64] = weights / weights.sum()
    return probabilities
