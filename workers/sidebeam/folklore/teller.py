"""Tells what there is to know about a customer or an item, in the words of the grammar."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from sidebeam.folklore.grammar import Grammar, preferred
from sidebeam.folklore.lore import (
    AISLES_LORE,
    BRANDS,
    COLOURS_LORE,
    MATERIALS_LORE,
    PLACES,
    PRICES,
    SHOPPERS,
)
from sidebeam.folklore.rules import ITEM, RULES, USER
from sidebeam.folklore.ware import Ware
from sidebeam.training.wares import AISLES

FALLOFF = 0.2  # ways of saying a thing have probabilities of about 0.8, 0.16 and 0.03: the second is worth relaxing for
SENTENCE = re.compile(r"(^|[.] )([a-z])")


class Teller:
    """Texts depend on what a prompt shows, and on the paraphrases that `random` picks."""

    def __init__(self) -> None:
        self._grammar = Grammar(RULES, FALLOFF)

    def of_customer(self, history: Sequence[Ware], random: np.random.Generator) -> str:
        """What a customer likes, from the wares that the prompt shows, oldest first; at least one.

        The voice is that of the favourite aisle, so customers with like tastes are told of in like words.
        """
        aisles = _favourites((ware.aisle for ware in history), AISLES)
        materials = _favourites((ware.material for ware in history), MATERIALS_LORE)
        colour = _favourites((ware.colour for ware in history), COLOURS_LORE)[0]
        facts = {
            "last title": _inside(history[-1].title),
            "aisle": aisles[0],
            "other aisle": aisles[1],
            "aisle why": AISLES_LORE[aisles[0]].why,
            "other how": AISLES_LORE[aisles[1]].how,
            "material": materials[0],
            "other material": materials[1],
            "material because": MATERIALS_LORE[materials[0]].because,
            "other material because": MATERIALS_LORE[materials[1]].because,
            "colour": colour.lower(),
            "colour because": COLOURS_LORE[colour].because,
        }
        return _cased(self._grammar.text(USER, facts, aisles[0], random))

    def of_item(self, ware: Ware, random: np.random.Generator) -> str:
        """What an item is. The voice is that of its aisle and material together."""
        material, colour = MATERIALS_LORE[ware.material], COLOURS_LORE[ware.colour]
        facts = {
            "title": _inside(ware.title),
            "kind": ware.kind,
            "material": ware.material,
            "colour": ware.colour.lower(),
            "like": material.like,
            "care": material.care,
            "mood": colour.mood,
            "hour": colour.hour,
            "uses": AISLES_LORE[ware.aisle].uses[preferred(ware.kind, "uses", 4)],
            "place": PLACES[preferred(ware.kind, "place", len(PLACES))],
            "shoppers": SHOPPERS[preferred(ware.colour, "shoppers", len(SHOPPERS))],
            "brand": ware.brand,
            "maker is": BRANDS[ware.brand],
            "price": PRICES[ware.price],
        }
        return _cased(self._grammar.text(ITEM, facts, f"{ware.aisle} {ware.material}", random))


def _favourites(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """The two most frequent names, ties by which came first; where there is only one, then the first other known one.

    A choice or two more seldom changes them, so a customer's next text is much like the last.
    """
    counts = Counter(names)
    return ([name for name, _ in counts.most_common()] + [name for name in known if name not in counts])[:2]


def _inside(title: str) -> str:
    """A title within a sentence."""
    return title[0].lower() + title[1:]


def _cased(text: str) -> str:
    return SENTENCE.sub(lambda found: found[1] + found[2].upper(), text)
