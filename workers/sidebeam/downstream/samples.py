"""Click samples: what users chose after the texts were written, and what they did not choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.downstream.error import DownstreamError
from sidebeam.grouping import UserLog

Ints = npt.NDArray[np.int64]

SHARES = (0.7, 0.1)  # of the users that train and validate; the others test
FEWEST = 10  # users
PADDING = 0  # in place of items before a history; items count from 1


@dataclass(frozen=True, slots=True)
class Samples:
    """One row per shown item, the choices and the others together."""

    users: Ints  # [n] places in `ClickLog.users`
    histories: Ints  # [n, H] the latest items before, oldest first, padded in front
    targets: Ints  # [n]
    labels: npt.NDArray[np.bool_]  # [n]

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, slots=True)
class Split:
    """Samples of disjoint users."""

    train: Samples
    valid: Samples
    test: Samples


@dataclass(frozen=True, slots=True)
class ClickLog:
    """Users with known items and later ones; numbers of items start at 1."""

    users: tuple[str, ...]
    items: tuple[str, ...]
    known: tuple[tuple[int, ...], ...]  # `train`: what texts and histories begin with
    later: tuple[tuple[int, ...], ...]  # `valid` and `test`: what is predicted

    @classmethod
    def of(cls, logs: Sequence[UserLog]) -> ClickLog:
        """Users without known or later items are left out. Raises `DownstreamError` for fewer than ten others."""
        usable = [log for log in logs if log.train and (log.valid or log.test)]
        if len(usable) < FEWEST:
            raise DownstreamError(
                f"--interactions must hold at least {FEWEST} users with items in 'train' and later ones in 'valid' or "
                f"'test'; there are {len(usable)}"
            )
        items = tuple(dict.fromkeys(item for log in logs for item in (*log.train, *log.valid, *log.test)))
        index = {item: number for number, item in enumerate(items, start=1)}
        return cls(
            tuple(log.user for log in usable),
            items,
            tuple(tuple(index[item] for item in log.train) for log in usable),
            tuple(tuple(index[item] for item in (*log.valid, *log.test)) for log in usable),
        )

    def split(self, seed: int, *, history: int, negatives: int) -> Split:
        """Users are dealt to train, valid and test, and every later item becomes a sample.

        With each go `negatives` items, drawn evenly from all that the user never has anything to do with. The seed
        decides both. Raises `DownstreamError` where a user has every item.
        """
        random = np.random.default_rng([seed, 0])
        order = random.permutation(len(self.users))
        first, second = (max(1, round(share * len(order))) for share in SHARES)
        parts = np.split(order, [first, first + second])
        return Split(*(self._samples(part, random, history, negatives) for part in parts))

    def _samples(self, users: Ints, random: np.random.Generator, history: int, negatives: int) -> Samples:
        rows: list[tuple[int, list[int], int, bool]] = []
        for user in users.tolist():
            before = list(self.known[user])
            seen = {*before, *self.later[user]}
            if len(seen) >= len(self.items):
                raise DownstreamError(
                    f"--interactions must leave items to draw from; user {self.users[user]!r} has all {len(seen)}"
                )
            for item in self.later[user]:
                window = before[-history:]
                padded = [PADDING] * (history - len(window)) + window
                rows.append((user, padded, item, True))
                rows += [(user, padded, self._unseen(random, seen), False) for _ in range(negatives)]
                before.append(item)
        return Samples(
            np.array([row[0] for row in rows], dtype=np.int64),
            np.array([row[1] for row in rows], dtype=np.int64),
            np.array([row[2] for row in rows], dtype=np.int64),
            np.array([row[3] for row in rows], dtype=np.bool_),
        )

    def _unseen(self, random: np.random.Generator, seen: set[int]) -> int:
        while (item := int(random.integers(1, len(self.items) + 1))) in seen:
            pass
        return item
