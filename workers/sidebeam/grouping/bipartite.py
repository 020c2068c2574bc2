"""Users and items as one graph, whose edges are what users did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.grouping.error import GroupingError
from sidebeam.grouping.interactions import UserLog

Ints = npt.NDArray[np.int64]

FEWEST = 2  # users, and items: with one of either there is nothing to tell apart


@dataclass(frozen=True, slots=True)
class Bipartite:
    """Each pair of a user and an item once, by user, then item."""

    users: tuple[str, ...]
    items: tuple[str, ...]
    edges: Ints  # [E, 2] user and item

    @classmethod
    def of(cls, logs: Sequence[UserLog]) -> Bipartite:
        """Users without known items, and items without users, are left out. Raises `GroupingError` for too few."""
        active = [log for log in logs if log.train]
        items = tuple(dict.fromkeys(item for log in active for item in log.train))
        for name, found in (("users", len(active)), ("items", len(items))):
            if found < FEWEST:
                raise GroupingError(
                    f"--interactions must hold at least {FEWEST} {name} with interactions; there are {found}"
                )
        index = {item: number for number, item in enumerate(items)}
        pairs = [(user, index[item]) for user, log in enumerate(active) for item in log.train]
        edges: Ints = np.unique(np.array(pairs, dtype=np.int64), axis=0)
        return cls(tuple(log.user for log in active), items, edges)

    def split(self, share: float, random: np.random.Generator) -> tuple[Ints, Ints]:
        """Edges to train on and about `share` of them to validate with; each user and item keeps one to train on."""
        order = random.permutation(len(self.edges))
        users, items = (np.bincount(self.edges[:, side]) for side in (0, 1))
        held = np.zeros(len(self.edges), dtype=bool)
        wanted = round(share * len(self.edges))
        for edge in order.tolist():
            if wanted <= 0:
                break
            user, item = self.edges[edge]
            if users[user] > 1 and items[item] > 1:
                users[user] -= 1
                items[item] -= 1
                held[edge] = True
                wanted -= 1
        return self.edges[~held], self.edges[held]

    def unseen(self, users: Ints, random: np.random.Generator) -> Ints:
        """For each user an item that the user has no edge to, all of these equally likely; -1 where there is none."""
        n_items = len(self.items)
        known = self.edges[:, 0] * n_items + self.edges[:, 1]  # [E] ascending
        full = np.bincount(self.edges[:, 0], minlength=len(self.users))[users] >= n_items
        drawn = np.full(len(users), -1, dtype=np.int64)
        todo = np.flatnonzero(~full)
        while len(todo):
            drawn[todo] = random.integers(n_items, size=len(todo))
            keys = users[todo] * n_items + drawn[todo]
            place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            todo = todo[known[place] == keys]
        return drawn
