"""The demo world's texts as token ids, in any number: what an index is measured on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sidebeam.folklore.knowledge_world import KnowledgeWorld
from sidebeam.folklore.tokens import Tokens

Ints = npt.NDArray[np.int32]

VOCABULARY = 2000
LEARNED_FROM = 500  # texts, by the tokenizer
TOLD = 1_000_000  # tokens of texts about different customers; what is asked for beyond repeats them, varied
VARIED = 0.02  # tokens of a repeated text that are any others
AT_ONCE = 500  # customers


class ToldTexts:
    """Draws texts of about 135 tokens about customers, the last one the end mark; the same seed draws the same."""

    def __init__(self, world: KnowledgeWorld | None = None, told: int = TOLD) -> None:
        self._world = world or KnowledgeWorld.build()
        self._told = told
        self._tokens = Tokens.train(self._tell(LEARNED_FROM, np.random.default_rng(0), stream=0), VOCABULARY)

    def texts(self, tokens: int, seed: int) -> list[Ints]:
        """Texts of that many tokens in all, or a few more."""
        random = np.random.default_rng(seed)
        found: list[Ints] = []
        total, stream = 0, 1
        while total < min(tokens, self._told):
            more = self._tokens.answers(self._tell(AT_ONCE, random, stream=seed << 32 | stream))
            for ids in more:
                if total < min(tokens, self._told):
                    found.append(np.array(ids, np.int32))
                    total += len(ids)
            stream += 1
        first, most = len(found), max(int(text.max()) for text in found)
        while total < tokens:
            text = found[len(found) % first].copy()
            other = random.random(len(text) - 1) < VARIED
            text[:-1][other] = random.integers(self._tokens.end + 1, most + 1, int(other.sum()))
            found.append(text)
            total += len(text)
        return found

    def _tell(self, count: int, random: np.random.Generator, stream: int) -> list[str]:
        customers = self._world.customers(count, stream=stream)
        return list(self._world.user_texts([each.known for each in customers], random))
