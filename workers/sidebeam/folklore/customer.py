"""Circles of customers who like the same things, and what each customer chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.folklore.ware import Ware
from sidebeam.training.world import COMPANION_WEIGHTS, World

Floats = npt.NDArray[np.float64]

HABIT, TASTE = 0.25, 0.65  # how the next item comes about; the rest is plain popularity
AISLE_SHARES = (0.6, 0.3)  # of a circle's two aisles; the rest is the customer's own third one
LIKED_MATERIALS = (9.0, 5.0)  # times more often than other materials
LIKED_COLOUR = 6.0
EARLIER = (7, 12)  # items that were known when the old texts were written, fewest and most
SINCE = (1, 2)  # items since then
LATER = 6  # items after the new texts: what the downstream check predicts


@dataclass(frozen=True, slots=True)
class Circle:
    """What its members like, best first; indices of aisles and names of the others."""

    aisles: tuple[int, int]
    materials: tuple[str, str]
    colour: str


@dataclass(frozen=True, slots=True)
class Customer:
    """Item indices in time order. Old texts know `earlier`, new ones `known`, nobody knows `later`."""

    circle: int
    earlier: tuple[int, ...]
    since: tuple[int, ...]
    later: tuple[int, ...]

    @property
    def known(self) -> tuple[int, ...]:
        """Everything up to the new texts."""
        return self.earlier + self.since


def draw_circles(random: np.random.Generator, wares: Sequence[Ware], aisles: int, count: int) -> tuple[Circle, ...]:
    """Circles whose favourite aisles are spread evenly; materials and colours are such as the first aisle has."""
    circles = []
    for number in range(count):
        first = number % aisles
        second = (first + 1 + int(random.integers(aisles - 1))) % aisles
        stocked = [ware for ware in wares if ware.aisle == wares[first * len(wares) // aisles].aisle]
        materials = random.permutation(sorted({ware.material for ware in stocked}))[:2].tolist()
        colours = sorted({ware.colour for ware in stocked if ware.material in materials})
        circles.append(Circle((first, second), (materials[0], materials[1]), str(random.choice(colours))))
    return tuple(circles)


class Crowd:
    """Draws customers of a shop."""

    def __init__(self, world: World, wares: Sequence[Ware], circles: Sequence[Circle]) -> None:
        self._world = world
        self._aisles = int(world.aisle.max()) + 1
        material, colour = (np.array([getattr(ware, name) for ware in wares]) for name in ("material", "colour"))
        self._circles = circles
        self._likings = [
            world.popularity
            * np.where(material == circle.materials[0], LIKED_MATERIALS[0], 1)
            * np.where(material == circle.materials[1], LIKED_MATERIALS[1], 1)
            * np.where(colour == circle.colour, LIKED_COLOUR, 1)
            for circle in circles
        ]  # [items] each
        self._popular = np.cumsum(world.popularity)

    def customer(self, random: np.random.Generator) -> Customer:
        number = int(random.integers(len(self._circles)))
        shares = np.zeros(self._aisles)
        shares[int(random.integers(self._aisles))] = 1 - sum(AISLE_SHARES)
        for aisle, share in zip(self._circles[number].aisles, AISLE_SHARES, strict=True):
            shares[aisle] += share
        of_aisle = np.bincount(self._world.aisle, weights=self._likings[number], minlength=self._aisles)
        taste = np.cumsum(self._likings[number] * (shares / of_aisle)[self._world.aisle])
        earlier = int(random.integers(EARLIER[0], EARLIER[1] + 1))
        known = earlier + int(random.integers(SINCE[0], SINCE[1] + 1))
        items = self._walk(random, taste / taste[-1], known + LATER)
        return Customer(number, tuple(items[:earlier]), tuple(items[earlier:known]), tuple(items[known:]))

    def _walk(self, random: np.random.Generator, taste: Floats, length: int) -> list[int]:
        """No item twice."""
        items: list[int] = []
        while len(items) < length:
            chance = random.random()
            if items and chance < HABIT:
                item = int(random.choice(self._world.follow[items[-1]], p=COMPANION_WEIGHTS))
            else:
                shares = taste if chance < HABIT + TASTE or not items else self._popular
                item = min(int(np.searchsorted(shares, random.random())), len(shares) - 1)
            if item not in items:
                items.append(item)
        return items
