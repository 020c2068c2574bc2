"""A text that grows, with all earlier places of each of its tokens: the private index of a request or an entity."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.compiled import bare
from sidebeam.knowledge.layout import TOKEN_LIMIT
from sidebeam.knowledge.mixing import mix

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]

FIRST_ROOM = 512  # tokens
EMPTY = -1

OWN = 6  # what kernels are told of an own text: addresses of its arrays; numbers; 1 if it is searched
TOKENS, BEFORE, LATEST, MASK, COUNT, SEARCHED = range(OWN)


class OwnText:
    """Tokens, and for each the place before at which the same token stands: O(1) time and 24 to 48 bytes per token."""

    __slots__ = ("before", "facts", "latest", "length", "tokens")

    def __init__(self, facts: Longs, room: int = FIRST_ROOM) -> None:
        """`facts` [OWN] are kept up to date for kernels."""
        size = 1 << max(room - 1, 15).bit_length()
        self.tokens: Ints = np.empty(size, np.int32)
        self.before: Ints = np.empty(size, np.int32)  # earlier place of the same token, or EMPTY
        self.latest: Ints = np.full((2 * size, 2), EMPTY, np.int32)  # hash table: token, its last place
        self.length = 0
        self.facts = facts
        self._look()

    def extend(self, tokens: Longs) -> bool:
        """Adds tokens at the end; False, with nothing added, if one is not an id from 0 to `TOKEN_LIMIT` - 1."""
        length = self.length + len(tokens)
        if length > len(self.tokens):
            grown = OwnText(self.facts, 2 * length)
            _append(grown.tokens, grown.before, grown.latest, 0, self.tokens[: self.length].astype(np.int64))
            self.tokens, self.before, self.latest = grown.tokens, grown.before, grown.latest
            self.facts[COUNT] = self.length
        if not _append(self.tokens, self.before, self.latest, self.length, tokens):
            return False
        self.length = self.facts[COUNT] = length
        return True

    def _look(self) -> None:
        addresses = [array.ctypes.data for array in (self.tokens, self.before, self.latest)]
        self.facts[:SEARCHED] = [*addresses, len(self.latest) - 1, self.length]


@bare
def _append(tokens: Ints, before: Ints, latest: Ints, length: int, added: Longs) -> bool:
    for token in added:
        if token < 0 or token >= TOKEN_LIMIT:
            return False
    mask = len(latest) - 1
    for i in range(len(added)):
        token = added[i]
        slot = mix(token, 0) & mask
        while latest[slot, 0] != token and latest[slot, 0] != EMPTY:
            slot = (slot + 1) & mask
        tokens[length + i] = token
        before[length + i] = latest[slot, 1]
        latest[slot, 0], latest[slot, 1] = token, length + i
    return True
