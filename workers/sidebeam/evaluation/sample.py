"""Some of many, spread over all of them: a file's users come in an order that may mean something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def evenly(items: Sequence[T], n: int) -> list[T]:
    """At most n of them, spread over the whole file."""
    return [items[i] for i in _spread(len(items), n)]


def between(items: Sequence[T], n: int, others: int) -> list[T]:
    """At most `others` of those that `evenly(items, n)` leaves out, spread over the whole file."""
    taken = set(_spread(len(items), n))
    return evenly([item for i, item in enumerate(items) if i not in taken], others)


def _spread(size: int, n: int) -> list[int]:
    picks: list[int] = np.unique(np.linspace(0, size - 1, min(n, size)).astype(int)).tolist() if size else []
    return picks
