"""Some entities' texts and the index over them; never changed once made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.layout import HEADER, N_TEXT
from sidebeam.knowledge.suffix_tree import build_index, join

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Segment:
    """One text for each entity, in the order of the entities' UTF-8 names."""

    index: Words  # see `layout`
    starts: Longs  # [texts + 1] of each text in the index's text
    name_ends: Longs  # [texts]
    names: npt.NDArray[np.uint8]  # UTF-8, one after the other

    @classmethod
    def build(cls, texts: Mapping[str, npt.ArrayLike]) -> Segment:
        """From tokens by entity. Raises `KnowledgeError` for tokens that no index takes."""
        by_name = sorted((entity.encode(), tokens) for entity, tokens in texts.items())
        parts = [np.asarray(tokens, np.uint32) for _, tokens in by_name]
        starts = np.cumsum([0, *(len(part) + 1 for part in parts)], dtype=np.int64)
        ends = np.cumsum([len(name) for name, _ in by_name], dtype=np.int64)
        names = np.frombuffer(b"".join(name for name, _ in by_name), np.uint8)
        return cls(build_index(join(parts)), starts, ends, names)

    @property
    def n_texts(self) -> int:
        """Texts, and so entities."""
        return len(self.name_ends)

    @property
    def n_tokens(self) -> int:
        """Tokens of all texts."""
        return int(self.index[N_TEXT]) - self.n_texts

    @property
    def nbytes(self) -> int:
        """Bytes of everything."""
        return self.index.nbytes + self.starts.nbytes + self.name_ends.nbytes + self.names.nbytes

    def find(self, entity: str) -> int | None:
        """The number of an entity's text, None if there is none."""
        wanted = entity.encode()
        low, high = 0, self.n_texts
        while low < high:
            middle = (low + high) // 2
            if self._name(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < self.n_texts and self._name(low) == wanted else None

    def tokens(self, text: int) -> Ints:
        """Of one text."""
        start, end = int(self.starts[text]), int(self.starts[text + 1]) - 1
        return self.index[HEADER + start : HEADER + end].astype(np.int32)

    def texts(self, without: frozenset[int] = frozenset()) -> Iterator[tuple[str, Ints]]:
        """Entities and their tokens, but for some texts."""
        for text in range(self.n_texts):
            if text not in without:
                yield self._name(text).decode(), self.tokens(text)

    def _name(self, text: int) -> bytes:
        start = int(self.name_ends[text - 1]) if text else 0
        return self.names[start : int(self.name_ends[text])].tobytes()
