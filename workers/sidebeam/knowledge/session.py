"""One request: what follows its text, from all that was said before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.best_first import CANDIDATE, FULL, NODE_LIMIT, SOURCE, SOURCE_LIMIT, Found, Heap
from sidebeam.knowledge.calibration import CELLS, TIERS, PoolDraft
from sidebeam.knowledge.compiled import settled
from sidebeam.knowledge.cursors import MATCH_LIMIT, SLOTS, advance, new_cursors
from sidebeam.knowledge.error import KnowledgeError
from sidebeam.knowledge.matches import PLACE_LIMIT
from sidebeam.knowledge.memory_word import address
from sidebeam.knowledge.own_text import OWN, SEARCHED, OwnText
from sidebeam.knowledge.retrieve import retrieve
from sidebeam.knowledge.tokens import check_ids, integers

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint32]
Doubles = npt.NDArray[np.float64]

FIRST_ROOM = 1024  # candidates


@dataclass(frozen=True, slots=True)
class Indexes:
    """What a session searches besides its own texts; nothing in it ever changes."""

    arrays: tuple[tuple[Words, Words], ...]  # each index and its deleted leaves, kept alive
    table: Longs  # [slots, INDEX DELETED TIER]

    @classmethod
    def of(cls, parts: Sequence[tuple[Words, Words, int]]) -> Indexes:
        """From (index, its deleted leaves, tier), at most SLOTS."""
        assert len(parts) <= SLOTS
        rows = [(address(index), address(gone), tier) for index, gone, tier in parts]
        return cls(tuple((index, gone) for index, gone, _ in parts), np.array(rows, np.int64).reshape(-1, 3))


class _Scratch(threading.local):
    """Memory that one draft needs, kept for the next in the same thread."""

    def __init__(self) -> None:
        self.sources = np.zeros(SOURCE_LIMIT, SOURCE)
        self.places = np.empty(2 * MATCH_LIMIT * PLACE_LIMIT, np.int64)
        self.near = np.empty((3, PLACE_LIMIT), np.int64)
        self.heap = _heap(FIRST_ROOM)
        self.found: dict[int, Found] = {}

    def more_candidates(self) -> None:
        self.heap = _heap(2 * len(self.heap.open))

    def nodes(self, count: int) -> Found:
        size = count.bit_length()
        if size not in self.found:
            self.found[size] = _found(1 << size)
        return self.found[size]


def _heap(room: int) -> Heap:
    numbers = np.empty(room, np.float64), np.empty(room, np.int64), np.empty(room, np.int32)
    return Heap(np.zeros(room, CANDIDATE), *numbers, np.zeros(4, np.int64))


def _found(room: int) -> Found:
    slots = np.empty(1 << (2 * room).bit_length(), np.int32)
    return Found(np.empty((3, room), np.int32), np.empty((2, room), np.float32), slots)


_SCRATCH = _Scratch()
_TIER_OF = np.repeat(np.arange(len(TIERS), dtype=np.uint8), CELLS // len(TIERS))  # [CELLS]


class Session:
    """Private to one request and one thread at a time; dropped with it.

    The text is the prompt and what was generated since. Drafts follow its end.
    """

    __slots__ = (
        "_counts",
        "_cursors",
        "_entity",
        "_indexes",
        "_learn",
        "_open",
        "_own",
        "_prompt",
        "_retrieve",
        "_text",
        "_weights",
    )

    def __init__(
        self,
        prompt: npt.ArrayLike,
        indexes: Indexes,
        weights: Doubles,
        entity_text: npt.ArrayLike = (),
        learn: Callable[[Ints], None] | None = None,
        *,
        lookup: bool = True,
    ) -> None:
        """`entity_text` is what was said of the same entity before. `lookup` searches the text itself, prompt and all.

        Raises `KnowledgeError` for tokens that are not ids.
        """
        self._indexes, self._weights, self._learn = indexes, weights, learn
        self._own = np.zeros((2, OWN), np.int64)  # the request's text, the entity's
        self._own[:, SEARCHED] = lookup, True
        given, told = integers(prompt), integers(entity_text)
        self._entity = OwnText(self._own[1], len(told))
        _add(self._entity, told)
        self._text = OwnText(self._own[0], 2 * len(given))
        _add(self._text, given)
        self._prompt = len(given)
        self._cursors, self._counts = new_cursors(len(indexes.table))
        advance(indexes.table, self._cursors, self._counts, given)
        assert weights.dtype == np.float64
        assert weights.flags.c_contiguous
        self._retrieve = settled(retrieve)
        self._open = True

    @property
    def output(self) -> Ints:
        """The tokens after the prompt."""
        return self._text.tokens[self._prompt : self._text.length].copy()

    def extend(self, tokens: npt.ArrayLike) -> None:
        """Adds generated tokens. Raises `KnowledgeError` for an id out of range, or after `close`."""
        if not self._open:
            raise KnowledgeError("the session is closed")
        added = integers(tokens)
        _add(self._text, added)
        advance(self._indexes.table, self._cursors, self._counts, added)

    def draft(self, nodes: int, depth: int, least: float = 0.0) -> PoolDraft:
        """The up to `nodes` likeliest tokens up to `depth` after the end, of estimates from `least`, best first.

        Exactly those: by estimate, then the shallower, then the lower token. Raises `KnowledgeError` after `close`.
        """
        if not self._open:
            raise KnowledgeError("the session is closed")
        if not (0 <= nodes <= NODE_LIMIT and 0 <= depth <= NODE_LIMIT):
            name, value = ("depth", depth) if 0 <= nodes <= NODE_LIMIT else ("nodes", nodes)
            raise KnowledgeError(f"{name} must be from 0 to {NODE_LIMIT}; given {value}")
        scratch = _SCRATCH
        limits = int(nodes), int(depth), float(least)  # of these types: a kernel is compiled for each it is given
        found = scratch.nodes(limits[0])
        while True:
            made = self._retrieve(
                self._indexes.table, self._cursors, self._counts, self._own, self._weights,
                limits, scratch.sources, scratch.places, scratch.near, scratch.heap, found,
            )  # fmt: skip
            if made != FULL:
                break
            scratch.more_candidates()
        ints, floats = found.ints[:, :made].copy(), found.floats[:, :made].copy()
        cells = ints[2]
        return PoolDraft(ints[0], ints[1], floats[0], _TIER_OF.take(cells), cells, floats[1])

    def close(self, *, learn: bool = False) -> None:
        """Drops the session's own texts. With `learn`, the output is queued for the pools; without, nothing is kept."""
        output = self.output
        was_open, self._open = self._open, False
        self._text = self._entity = OwnText(np.zeros(OWN, np.int64))
        if was_open and learn and self._learn is not None:
            self._learn(output)


def _add(text: OwnText, tokens: Longs) -> None:
    if not text.extend(tokens):
        check_ids(tokens)
