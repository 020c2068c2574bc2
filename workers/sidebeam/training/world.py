"""A small shop and its customers: clustered tastes, sequential habits and a long tail, all from one seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sidebeam.training.wares import AISLES, COLOURS, MATERIALS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MATERIALS_PER_SHELF = 4
COLOURS_PER_MATERIAL = 4
COMPANIONS = 3  # shelves that one usually visits next
COMPANION_WEIGHTS = (0.55, 0.3, 0.15)
HABIT, TASTE = 0.65, 0.27  # how the next item comes about; the rest is plain popularity
TAIL = 0.75  # exponent of the popularity law
COLLIDING = 0.01  # share of the items that have another item's SID
SHORTEST, MEAN_LENGTH, LONGEST = 5, 14, 40  # items in a user's history


@dataclass(frozen=True, slots=True)
class World:
    """Items on shelves in aisles.

    `codes` are the SIDs: aisle, shelf in the aisle, material, colour. `follow` and `follow_weights` say which items one
    usually takes after each item, most usual first. `popularity` sums to 1.
    """

    codes: Ints  # [items, 4]
    titles: tuple[str, ...]
    aisle: Ints  # [items]
    popularity: Floats  # [items]
    follow: Ints  # [items, COMPANIONS]
    seed: int

    @classmethod
    def build(cls, seed: int = 0, *, aisles: int = len(AISLES), shelves: int = 8) -> World:
        """A world of `aisles` × `shelves` × 16 items. Raises `ValueError` for sizes that the shop has no names for."""
        if not (2 <= aisles <= len(AISLES) and COMPANIONS <= shelves <= 8):
            raise ValueError(
                f"aisles must be from 2 to {len(AISLES)} and shelves from {COMPANIONS} to 8. Given: {aisles}, {shelves}"
            )
        random = np.random.default_rng([seed, 0])
        names = list(AISLES)[:aisles]
        codes, titles = _stock(random, names, shelves)
        n_items = len(codes)
        rank = random.permutation(n_items) + 1.0
        popularity = rank**-TAIL / np.sum(rank**-TAIL)
        shelf = codes[:, 0] * shelves + codes[:, 1]
        follow = _follow(random, codes, shelf, popularity, _companions(random, aisles, shelves))
        # Two items with one SID: what a recommender cannot tell apart, as in every real catalog.
        twins = random.choice(n_items // 2, size=round(COLLIDING * n_items), replace=False) * 2
        codes[twins + 1] = codes[twins]
        return cls(codes, titles, codes[:, 0].copy(), popularity, follow, seed)

    @property
    def sids(self) -> list[list[str]]:
        """SID tokens such as `<a_3>`, one list per item."""
        return [[f"<{level}_{code}>" for level, code in zip("abcd", row, strict=True)] for row in self.codes.tolist()]

    def histories(self, users: int, *, stream: int = 1) -> list[list[int]]:
        """Item indices in time order, one list per user; another `stream` gives other users of the same world."""
        random = np.random.default_rng([self.seed, stream])
        return [self._history(random) for _ in range(users)]

    def write(self, folder: Path, users: int) -> None:
        """Writes `items.json`, `titles.json` and `interactions.jsonl`.

        A user's last item is for testing, the one before for validation.
        """
        ids = [str(index) for index in range(len(self.codes))]
        _dump(folder / "items.json", dict(zip(ids, self.sids, strict=True)))
        _dump(folder / "titles.json", dict(zip(ids, self.titles, strict=True)))
        lines = [
            json.dumps({"user": user, "train": items[:-2], "valid": items[-2:-1], "test": items[-1:]})
            for user, items in enumerate(self.histories(users))
        ]
        (folder / "interactions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _history(self, random: np.random.Generator) -> list[int]:
        length = int(np.clip(SHORTEST + random.geometric(1 / (MEAN_LENGTH - SHORTEST)), SHORTEST, LONGEST))
        liked = random.choice(self.aisle.max() + 1, size=min(3, int(self.aisle.max()) + 1), replace=False)
        share = np.zeros(self.aisle.max() + 1)
        share[liked] = random.dirichlet(np.full(len(liked), 1.5))
        taste = self.popularity * share[self.aisle]
        taste /= taste.sum()
        items: list[int] = []
        taken: set[int] = set()
        while len(items) < length:
            item = self._next(random, items, taste)
            if item not in taken:
                taken.add(item)
                items.append(item)
        return items

    def _next(self, random: np.random.Generator, items: Sequence[int], taste: Floats) -> int:
        chance = random.random()
        if items and chance < HABIT:
            return int(random.choice(self.follow[items[-1]], p=COMPANION_WEIGHTS))
        weights = taste if chance < HABIT + TASTE or not items else self.popularity
        return int(random.choice(len(weights), p=weights))


def _stock(random: np.random.Generator, aisles: Sequence[str], shelves: int) -> tuple[Ints, tuple[str, ...]]:
    """Every shelf has its own few materials, every material on it its own few colours."""
    codes: list[tuple[int, int, int, int]] = []
    titles: list[str] = []
    for aisle, name in enumerate(aisles):
        for shelf, noun in enumerate(AISLES[name][:shelves]):
            for material in sorted(random.choice(len(MATERIALS), size=MATERIALS_PER_SHELF, replace=False).tolist()):
                for colour in sorted(random.choice(len(COLOURS), size=COLOURS_PER_MATERIAL, replace=False).tolist()):
                    codes.append((aisle, shelf, material, colour))
                    titles.append(f"{COLOURS[colour]} {MATERIALS[material]} {noun}")
    return np.array(codes, dtype=np.int64), tuple(titles)


def _companions(random: np.random.Generator, aisles: int, shelves: int) -> Ints:
    """Shelves visited after each shelf, [aisles * shelves, COMPANIONS]: two nearby, then one in another aisle."""
    companions = np.empty((aisles * shelves, COMPANIONS), dtype=np.int64)
    for shelf in range(aisles * shelves):
        first = shelf - shelf % shelves
        near = random.choice(shelves - 1, size=2, replace=False)
        companions[shelf, :2] = first + (shelf - first + 1 + near) % shelves
        companions[shelf, 2] = (shelf + shelves * (1 + random.integers(aisles - 1))) % (aisles * shelves)
    return companions


def _follow(random: np.random.Generator, codes: Ints, shelf: Ints, popularity: Floats, companions: Ints) -> Ints:
    """For each item its follower on each companion shelf: alike in colour or material if it can be, and popular."""
    follow = np.empty((len(codes), COMPANIONS), dtype=np.int64)
    members = [np.flatnonzero(shelf == number) for number in range(len(companions))]
    for item, code in enumerate(codes):
        for place, companion in enumerate(companions[shelf[item]]):
            there = members[companion]
            alike = 4.0 * (codes[there, 3] == code[3]) + 2.0 * (codes[there, 2] == code[2])
            follow[item, place] = there[np.argmax(alike + np.log(popularity[there]) + 0.5 * random.random(len(there)))]
    return follow


def _dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")
