"""The texts of one group, or of all: a snapshot, what was added since, and what of both is deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.cursors import occurrences
from sidebeam.knowledge.deleted import NOTHING, deleted_leaves, gone_before
from sidebeam.knowledge.memory_word import address
from sidebeam.knowledge.segment import Segment

Ints = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint32]

FRESH_TOKENS = 1 << 15  # of the newest layer; it is built anew for every change, in about 20 ms
LAYERS = 3  # snapshot, middle, newest


@dataclass(frozen=True, slots=True)
class Layer:
    """A segment, and its texts that do not count any more."""

    segment: Segment
    gone: frozenset[int] = frozenset()
    table: Words = field(default_factory=lambda: NOTHING)  # see `deleted`

    def without(self, entities: Mapping[str, object]) -> Layer:
        """The same with these entities' texts deleted."""
        found = {text for entity in entities if (text := self.segment.find(entity)) is not None}
        if found <= self.gone:
            return self
        gone = self.gone | found
        texts = np.array(sorted(gone), np.int64)
        return Layer(self.segment, gone, deleted_leaves(self.segment.index, self.segment.starts, texts))

    def texts(self) -> Iterator[tuple[str, Ints]]:
        """Entities and tokens that count."""
        return self.segment.texts(self.gone)


@dataclass(frozen=True, slots=True)
class Pool:
    """Never changed: a change makes another pool. At most `LAYERS` layers, older ones first."""

    base: Layer | None = None
    added: tuple[Layer, ...] = ()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All of them."""
        return self.added if self.base is None else (self.base, *self.added)

    @property
    def snapshot(self) -> Pool:
        """Without all changes."""
        return Pool() if self.base is None else Pool(Layer(self.base.segment))

    @property
    def n_texts(self) -> int:
        """Texts that count."""
        return sum(layer.segment.n_texts - len(layer.gone) for layer in self.layers)

    @property
    def nbytes(self) -> int:
        """Bytes of all segments, mapped ones as well."""
        return sum(layer.segment.nbytes + layer.table.nbytes for layer in self.layers)

    def changed(self, changes: Mapping[str, Ints | None]) -> Pool:
        """With these texts by entity in place of earlier ones; None: the entity has none."""
        base = None if self.base is None else self.base.without(changes)
        added = [layer.without(changes) for layer in self.added]
        texts = {entity: tokens for entity, tokens in changes.items() if tokens is not None}
        while added and sum(map(len, texts.values())) <= FRESH_TOKENS and len(texts) and _is_fresh(added[-1]):
            texts = dict(added.pop().texts()) | texts
        if len(added) == LAYERS - 1 and texts:
            texts = dict(added[0].texts()) | dict(added[1].texts()) | texts
            added = []
        if texts:
            added.append(Layer(Segment.build(texts)))
        return Pool(base, tuple(layer for layer in added if len(layer.gone) < layer.segment.n_texts))

    def find(self, entity: str) -> Ints | None:
        """An entity's tokens, None if it has no text."""
        for layer in reversed(self.layers):
            text = layer.segment.find(entity)
            if text is not None and text not in layer.gone:
                return layer.segment.tokens(text)
        return None

    def texts(self) -> Iterator[tuple[str, Ints]]:
        """Entities and tokens that count."""
        for layer in self.layers:
            yield from layer.texts()

    def count(self, tokens: Ints) -> int:
        """How often the tokens stand one after another in texts that count."""
        total = 0
        for layer in self.layers:
            first, end = occurrences(address(layer.segment.index), tokens)
            total += end - first
            if len(layer.table):
                total -= gone_before(address(layer.table), end) - gone_before(address(layer.table), first)
        return total


def _is_fresh(layer: Layer) -> bool:
    return layer.segment.n_tokens <= FRESH_TOKENS
