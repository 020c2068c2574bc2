"""The knowledge demo's world: who bought what when, what may be known about it, and the files that hold it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sidebeam.folklore.customer import Circle, Crowd, Customer, draw_circles
from sidebeam.folklore.teller import Teller
from sidebeam.folklore.ware import Ware
from sidebeam.grouping import UserLog
from sidebeam.prompts import Template, item_prompts, open_template, user_prompts
from sidebeam.prompts.prompt_file import write_prompts
from sidebeam.prompts.template import EntityKind
from sidebeam.training.wares import AISLES
from sidebeam.training.world import COLOURS_PER_MATERIAL, MATERIALS_PER_SHELF, World

TEMPLATES = Path(__file__).parent / "templates"
SHELVES = 8
PER_SHELF = MATERIALS_PER_SHELF * COLOURS_PER_MATERIAL
CUSTOMERS, PUPILS, TELLING = 1, 2, 3  # streams of random numbers: the demo's customers, the LM's, old texts
VALID_SHARE = 3  # of a customer's later items; the others test


@dataclass(frozen=True, slots=True)
class KnowledgeWorld:
    """A shop and circles of customers; all from one seed.

    The items of every second shelf are old: their texts were written before, those of the others are the next job.
    """

    shop: World
    wares: tuple[Ware, ...]
    circles: tuple[Circle, ...]
    seed: int

    @classmethod
    def build(cls, seed: int = 0, *, aisles: int = len(AISLES), circles: int = 2 * len(AISLES)) -> KnowledgeWorld:
        """A world of `aisles` × 128 items. Raises `ValueError` for sizes that it has no names for."""
        if circles < 1:
            raise ValueError(f"circles must be at least 1. Given: {circles}")
        shop = World.build(seed, aisles=aisles, shelves=SHELVES)
        wares = tuple(Ware.of(shop, item) for item in range(len(shop.titles)))
        random = np.random.default_rng([seed, 0])
        return cls(shop, wares, draw_circles(random, wares, aisles, circles), seed)

    @property
    def attributes(self) -> dict[str, dict[str, str]]:
        """By item id."""
        return {str(item): ware.attributes() for item, ware in enumerate(self.wares)}

    @property
    def old_items(self) -> list[int]:
        """Those with an old text."""
        return self._items_of(0)

    @property
    def new_items(self) -> list[int]:
        """Those without: other kinds of things in the same aisles, materials and colours."""
        return self._items_of(1)

    def customers(self, count: int, *, stream: int = CUSTOMERS) -> list[Customer]:
        """Another `stream` gives other customers of the same circles."""
        crowd, random = Crowd(self.shop, self.wares, self.circles), np.random.default_rng([self.seed, stream])
        return [crowd.customer(random) for _ in range(count)]

    def user_prompts(self, histories: Iterable[Sequence[int]]) -> list[str]:
        """What the LM is asked about customers with these items."""
        logs = [UserLog(str(number), tuple(map(str, items))) for number, items in enumerate(histories)]
        return [prompt for _, prompt in user_prompts(self._template("user"), logs, self.attributes)]

    def item_prompts(self, items: Iterable[int]) -> list[str]:
        """What the LM is asked about items."""
        ids = [str(item) for item in items]
        return [prompt for _, prompt in item_prompts(self._template("item"), ids, self.attributes)]

    def user_texts(self, histories: Iterable[Sequence[int]], random: np.random.Generator) -> Iterator[str]:
        """A text for each history, about what its prompt shows."""
        teller, shown = Teller(), self._template("user").max_history
        for items in histories:
            yield teller.of_customer([self.wares[item] for item in items[-shown:]], random)

    def item_texts(self, items: Iterable[int], random: np.random.Generator) -> Iterator[str]:
        """A text for each item."""
        teller = Teller()
        return (teller.of_item(self.wares[item], random) for item in items)

    def pairs(self, users: int, item_rounds: int = 1, *, stream: int = PUPILS) -> list[tuple[str, str]]:
        """Prompts and texts to train a language model on: other customers than the demo's, and every item.

        Customers are taken at their old time or at their new one, in turn.
        """
        random = np.random.default_rng([self.seed, stream, TELLING])
        customers = self.customers(users, stream=stream)
        histories = [each.known if place % 2 else each.earlier for place, each in enumerate(customers)]
        items = list(range(len(self.wares))) * item_rounds
        return [
            *zip(self.user_prompts(histories), self.user_texts(histories, random), strict=True),
            *zip(self.item_prompts(items), self.item_texts(items, random), strict=True),
        ]

    def write(self, folder: Path, users: int) -> None:
        """Writes what a team would have: ids, attributes, interactions, prompts, and the texts of the last time.

        `interactions-old.jsonl` is the log as it was when the old texts were written; in `interactions.jsonl`, `train`
        is all that new texts may know, and what came later is in `valid` and `test`.
        """
        customers = self.customers(users)
        random = np.random.default_rng([self.seed, CUSTOMERS, TELLING])
        ids = [f"u{user}" for user in range(users)]  # users and items may share a pool
        _dump(folder / "items.json", dict(zip(map(str, range(len(self.wares))), self.shop.sids, strict=True)))
        _lines(folder / "attributes.jsonl", ({"entity": item, **known} for item, known in self.attributes.items()))
        now = ({"user": user, **_parts(customer)} for user, customer in zip(ids, customers, strict=True))
        _lines(folder / "interactions.jsonl", now)
        old = [each.earlier for each in customers]
        _lines(folder / "interactions-old.jsonl", _logs(ids, old))
        for name, histories, items in (
            ("old", old, self.old_items),
            ("new", [each.known for each in customers], self.new_items),
        ):
            write_prompts(folder / f"prompts-users-{name}.jsonl", zip(ids, self.user_prompts(histories), strict=True))
            asked = zip(map(str, items), self.item_prompts(items), strict=True)
            write_prompts(folder / f"prompts-items-{name}.jsonl", asked)
        _texts(folder / "texts-users-old.jsonl", ids, self.user_texts(old, random))
        _texts(folder / "texts-items-old.jsonl", map(str, self.old_items), self.item_texts(self.old_items, random))

    def _items_of(self, half: int) -> list[int]:
        """The items of every second shelf."""
        return [item for item in range(len(self.wares)) if item // PER_SHELF % 2 == half]

    def _template(self, kind: EntityKind) -> Template:
        return open_template(kind, TEMPLATES)


def _parts(customer: Customer) -> dict[str, list[str]]:
    later = list(map(str, customer.later))
    return {"train": list(map(str, customer.known)), "valid": later[:VALID_SHARE], "test": later[VALID_SHARE:]}


def _logs(ids: Iterable[str], histories: Iterable[Sequence[int]]) -> Iterator[dict[str, Any]]:
    for user, items in zip(ids, histories, strict=True):
        yield {"user": user, "train": list(map(str, items))}


def _texts(path: Path, ids: Iterable[str], texts: Iterable[str]) -> None:
    _lines(path, ({"entity": entity, "text": text} for entity, text in zip(ids, texts, strict=True)))


def _lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    text = "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    path.write_text(text + "\n", encoding="utf-8")


def _dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")
