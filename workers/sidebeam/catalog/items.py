"""Item ids: what the caller calls an item, sorted so that a lookup is a binary search in mapped memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

_CANONICAL_INTEGER = re.compile(r"0|[1-9][0-9]{0,17}")


@dataclass(frozen=True, slots=True)
class ItemIds:
    """Ids in ascending order, stored in the smallest of three forms.

    Consecutive integers from 0 need no memory (`numbers` and `text` empty), other integers one number each, and any
    other ids their UTF-8 bytes in `text` with `offsets`.
    """

    count: int
    numbers: npt.NDArray[np.integer]  # [items] or [0]
    offsets: Ints  # [items + 1] or [0]
    text: npt.NDArray[np.uint8]  # [bytes] or [0]

    @classmethod
    def build(cls, ids: Sequence[str]) -> tuple[ItemIds, Ints]:
        """Sort `ids` (no repeats). Returns them, and where each stood in `ids`."""
        none = np.zeros(0, np.int64)
        nothing = np.zeros(0, np.uint8)
        if all(_CANONICAL_INTEGER.fullmatch(item_id) for item_id in ids):
            values = np.array(ids, dtype=object).astype(np.int64)
            order = np.argsort(values, kind="stable")
            values = values[order]
            if values[-1] == len(ids) - 1:
                return cls(len(ids), none, none, nothing), order
            small = values.astype(np.int32) if values[-1] < 1 << 31 else values
            return cls(len(ids), small, none, nothing), order
        encoded = [item_id.encode() for item_id in ids]
        order = np.array(sorted(range(len(ids)), key=encoded.__getitem__), dtype=np.int64)
        lengths = np.array([len(encoded[i]) for i in order], dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        text = np.frombuffer(b"".join(encoded[i] for i in order), np.uint8)
        return cls(len(ids), none, offsets, text), order

    def indices(self, ids: Sequence[str]) -> Ints:
        """Index of each id, -1 where it is unknown."""
        if len(self.text):
            return np.fromiter((self._find(item_id.encode()) for item_id in ids), np.int64, len(ids))
        values = np.fromiter(
            (int(item_id) if _CANONICAL_INTEGER.fullmatch(item_id) else -1 for item_id in ids), np.int64, len(ids)
        )
        if not len(self.numbers):
            return np.where(values < self.count, values, -1)
        at = np.minimum(np.searchsorted(self.numbers, values), self.count - 1)
        return np.where(self.numbers[at] == values, at, -1)

    def names(self, indices: npt.NDArray[np.integer]) -> list[str]:
        """The id of each index."""
        if len(self.text):
            return [self._bytes(int(i)).decode() for i in indices]
        if len(self.numbers):
            return [str(number) for number in self.numbers[indices].tolist()]
        return [str(number) for number in indices.tolist()]

    def _bytes(self, index: int) -> bytes:
        return self.text[self.offsets[index] : self.offsets[index + 1]].tobytes()

    def _find(self, wanted: bytes) -> int:
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            if self._bytes(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < self.count and self._bytes(low) == wanted else -1
