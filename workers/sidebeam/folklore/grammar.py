"""A stochastic grammar: symbols with several ways to say them, and voices that like these more or less."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import blake2b

import numpy as np

SYMBOL = re.compile(r"\{([^{}]+)\}")


class Grammar:
    """Rules by symbol: alternatives in which `{name}` is a fact of the text, or else another symbol.

    Every voice has its own order of a symbol's ways, and says each of them `falloff` times as often as the one before.
    Raises `ValueError` for a symbol that rules and facts both lack, once it is met.
    """

    def __init__(self, rules: Mapping[str, Sequence[str]], falloff: float) -> None:
        self._rules = rules
        self._falloff = falloff

    def text(self, symbol: str, facts: Mapping[str, str], voice: str, random: np.random.Generator) -> str:
        """A text of the symbol. A fact is repeated as it is: what is in braces there is not looked at."""
        ways = self._rules[symbol]
        weights = self._falloff ** np.arange(len(ways))
        rank = int(np.searchsorted(np.cumsum(weights / weights.sum()), random.random()))
        way = ways[liking(voice, symbol, len(ways))[min(rank, len(ways) - 1)]]

        def said(found: re.Match[str]) -> str:
            name = found[1]
            if name in facts:
                return facts[name]
            if name not in self._rules:
                raise ValueError(f"symbol {symbol!r}: there is neither a rule nor a fact {name!r}")
            return self.text(name, facts, voice, random)

        return SYMBOL.sub(said, way)


def preferred(voice: str, symbol: str, ways: int) -> int:
    """Which way a voice likes best; the same on every machine."""
    return liking(voice, symbol, ways)[0]


@cache
def liking(voice: str, symbol: str, ways: int) -> tuple[int, ...]:
    """A voice's order of a symbol's ways, best first."""
    return tuple(sorted(range(ways), key=lambda way: blake2b(f"{voice}\n{symbol}\n{way}".encode()).digest()))
