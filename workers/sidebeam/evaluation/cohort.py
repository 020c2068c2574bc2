"""Whom an evaluation is about: test users with their ground truth, and the others whom arms may learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sidebeam.catalog import Catalog
from sidebeam.evaluation.error import EvaluationError
from sidebeam.evaluation.neighbours import Neighbours
from sidebeam.evaluation.popularity import Popularity
from sidebeam.evaluation.sample import evenly
from sidebeam.training import History, Items, TrainingError, read_interactions

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TestUser:
    """One user: the items before the test, oldest first, and the distinct leaves of all test items."""

    __test__ = False  # pytest

    history: tuple[int, ...]
    truth: Ints  # [n] ascending


@dataclass(frozen=True, slots=True)
class Cohort:
    """`users` are measured; `others` are histories of people who are not. `test_users` could have been measured."""

    users: tuple[TestUser, ...]
    others: tuple[tuple[int, ...], ...]
    popularity: Popularity
    neighbours: Neighbours
    test_users: int
    without_history: int  # users with test items but nothing before them: there is nothing to prompt with

    @property
    def truth_sizes(self) -> Ints:
        """Distinct SIDs in each user's ground truth.  # [users]"""
        return np.array([len(user.truth) for user in self.users], np.int64)

    @classmethod
    def read(cls, path: Path, catalog: Catalog, most: int | None, learn: int) -> Cohort:
        """At most `most` test users, spread over the whole file, and `learn` others.

        Raises EvaluationError naming a bad line, or if the file has no test users.
        """
        ids = tuple(catalog.item_ids(np.arange(catalog.n_items)))
        known = Items(ids, (), {item_id: index for index, item_id in enumerate(ids)})
        try:
            people = read_interactions(path, known)
        except TrainingError as error:
            raise EvaluationError(f"--interactions: {error}") from error
        tested = [person for person in people if person.test and _before(person)]
        if not tested:
            raise EvaluationError(f"--interactions: {path} must have at least 1 user with test items and a history")
        measured = evenly(tested, len(tested) if most is None else most)
        taken = set(map(id, measured))
        others = [_before(person) for person in people if id(person) not in taken and _before(person)]
        return cls(
            users=tuple(TestUser(_before(person), np.unique(_leaves(catalog, person.test))) for person in measured),
            others=tuple(evenly(others, learn)),
            popularity=Popularity(catalog, (person.train for person in people)),
            neighbours=Neighbours(catalog, (person.train for person in people)),
            test_users=len(tested),
            without_history=sum(bool(person.test) and not _before(person) for person in people),
        )


def _before(person: History) -> tuple[int, ...]:
    return person.train + person.valid


def _leaves(catalog: Catalog, items: Sequence[int]) -> Ints:
    return catalog.leaf_of(np.array(items, np.int64))
