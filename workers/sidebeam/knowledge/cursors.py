"""Where the end of a text stands in the indexes: the places of its last 16, 15, ... 1 tokens, as tokens are added."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.compiled import bare
from sidebeam.knowledge.layout import (
    CHILDREN,
    COUNT,
    DEPTH,
    EDGE_MASK,
    EDGES,
    LAST,
    LEAF,
    LEAVES,
    LOW,
    NONE,
    ORDER,
    PLACE,
    ROW,
    ROWS,
    TEXT,
    TOKEN,
    WIDE,
)
from sidebeam.knowledge.memory_word import prefetch, word
from sidebeam.knowledge.mixing import mix

Longs = npt.NDArray[np.int64]

SLOTS = 8  # indexes that a session asks at most
INDEX, DELETED, TIER = range(3)  # of a slot: the addresses of an index and of its deleted leaves (0: none); its tier
MATCH_LIMIT = 16  # tokens before the end that may be matched
# A cursor stands for all suffixes of the text that occur at the same places: the longest, and the shortest.
CURSOR = 5
LOCUS, BASE, LENGTH, SHORTEST, OCCURS = range(CURSOR)  # row or leaf; where its string stands in the index's text; ...


def new_cursors(slots: int) -> tuple[Longs, npt.NDArray[np.int32]]:
    """The cursors of an empty text, longest first, and their number.  # [slots, MATCH_LIMIT + 1, CURSOR], [slots]"""
    return np.zeros((slots, MATCH_LIMIT + 1, CURSOR), np.int64), np.zeros(slots, np.int32)


@bare
def advance(table: Longs, cursors: Longs, counts: npt.NDArray[np.int32], tokens: Longs) -> None:
    """Moves the cursors of every index in `table` over added tokens: O(16) each per token, whatever their sizes.

    What the cursors of all indexes will read is asked for before the first of them moves: a large index costs
    memory's time, which passes once for all of them instead of once for each.
    """
    if len(tokens) > MATCH_LIMIT:  # what stands before is out of sight
        counts[:] = 0
        tokens = tokens[len(tokens) - MATCH_LIMIT :]
    for token in tokens:
        for slot in range(len(table)):
            at = cursors[slot, counts[slot]]
            at[LOCUS], at[BASE], at[LENGTH], at[SHORTEST] = 0, 0, 0, 0
            for i in range(counts[slot] + 1):
                _expect(table[slot, INDEX], cursors[slot, i], token)
        for slot in range(len(table)):
            for i in range(counts[slot] + 1):
                _expect_more(table[slot, INDEX], cursors[slot, i], token)
        for slot in range(len(table)):
            counts[slot] = _move(table[slot, INDEX], cursors[slot], counts[slot] + 1, token)


@bare
def _move(index: int, at: Longs, n: int, token: int) -> int:
    """Moves an index's n cursors over a token; returns how many are left."""
    kept = 0
    for i in range(n):
        base, length, shortest = at[i, BASE], at[i, LENGTH], at[i, SHORTEST] + 1
        locus = _follow(index, at[i, LOCUS], base, length, token)
        if locus < 0 or shortest > MATCH_LIMIT:
            continue
        occurs = at[i, OCCURS]
        if locus != at[i, LOCUS] or length == 0:
            base, occurs = _place(index, locus)
        if kept and at[kept - 1, OCCURS] == occurs:  # the same places: the longer one stands for both
            at[kept - 1, SHORTEST] = shortest
            continue
        at[kept, LOCUS], at[kept, BASE], at[kept, OCCURS] = locus, base, occurs
        at[kept, LENGTH], at[kept, SHORTEST] = length + 1, shortest
        kept += 1
    return kept


@bare
def _expect(index: int, cursor: Longs, token: int) -> None:
    """Asks memory for what moving this cursor reads first."""
    locus, length = cursor[LOCUS], cursor[LENGTH]
    at = word(index, ROWS) + ROW * locus
    if locus & LEAF or length < word(index, at + DEPTH) & LOW:
        prefetch(index, word(index, TEXT) + cursor[BASE] + length)
    elif word(index, at + DEPTH) & WIDE:
        prefetch(index, word(index, EDGES) + 2 * (mix(locus, token) & word(index, EDGE_MASK)))
    else:
        prefetch(index, word(index, ROWS) + ROW * word(index, at + CHILDREN))
        prefetch(index, word(index, ORDER) + word(index, at + LEAVES))


@bare
def _expect_more(index: int, cursor: Longs, token: int) -> None:
    """The same for what a place in the hash table leads to."""
    locus, length = cursor[LOCUS], cursor[LENGTH]
    if locus & LEAF:
        return
    depth = word(index, word(index, ROWS) + ROW * locus + DEPTH)
    if length < (depth & LOW) or not depth & WIDE:
        return
    value = word(index, word(index, EDGES) + 2 * (mix(locus, token) & word(index, EDGE_MASK)))
    if value & LEAF:
        if value != NONE:
            prefetch(index, word(index, ORDER) + (value & LOW))
    else:
        prefetch(index, word(index, ROWS) + ROW * value)


@bare
def occurrences(index: int, tokens: npt.NDArray[np.int32]) -> tuple[int, int]:
    """Places at which the tokens stand, as the first of the index's leaves and the end."""
    locus, base, length = 0, 0, 0
    for token in tokens:
        follows = _follow(index, locus, base, length, token)
        if follows < 0:
            return 0, 0
        if follows != locus or length == 0:
            base = _place(index, follows)[0]
        locus, length = follows, length + 1
    if locus & LEAF:
        return locus & LOW, (locus & LOW) + 1
    at = word(index, ROWS) + ROW * locus
    return word(index, at + LEAVES), word(index, at + LEAVES) + word(index, at + COUNT)


@bare
def _place(index: int, locus: int) -> tuple[int, int]:
    """Where the locus's string stands first in the text, and how often it occurs."""
    if locus & LEAF:
        return word(index, word(index, ORDER) + (locus & LOW)), 1
    at = word(index, ROWS) + ROW * locus
    return word(index, at + PLACE), word(index, at + COUNT)


@bare
def _follow(index: int, locus: int, base: int, length: int, token: int) -> int:
    """The row or leaf on the way to which the string with `token` added lies; -1 if it never occurs."""
    text, rows = word(index, TEXT), word(index, ROWS)
    if locus & LEAF:
        return locus if word(index, text + base + length) == token else -1
    at = rows + ROW * locus
    depth = word(index, at + DEPTH)
    if length < (depth & LOW):
        return locus if word(index, text + base + length) == token else -1
    if depth & WIDE:
        return _look_up(index, locus, length, token)
    child, first = word(index, at + CHILDREN), word(index, at + LEAVES)
    end = first + word(index, at + COUNT)
    if child:
        end = word(index, rows + ROW * child + LEAVES)
        while True:
            name = word(index, rows + ROW * child + TOKEN)
            if name & LOW == token:
                return child
            if name & LAST:
                break
            child += 1
    for leaf in range(first, end):
        if word(index, text + word(index, word(index, ORDER) + leaf) + length) == token:
            return leaf | LEAF
    return -1


@bare
def _look_up(index: int, row: int, length: int, token: int) -> int:
    """The same for a row whose ways on stand in the hash table."""
    text, order, rows, edges = word(index, TEXT), word(index, ORDER), word(index, ROWS), word(index, EDGES)
    mask = word(index, EDGE_MASK)
    slot = mix(row, token) & mask
    while True:
        value = word(index, edges + 2 * slot)
        if value == NONE:
            return -1
        if word(index, edges + 2 * slot + 1) == row:
            if value & LEAF:
                if word(index, text + word(index, order + (value & LOW)) + length) == token:
                    return value
            elif word(index, rows + ROW * value + TOKEN) & LOW == token:
                return value
        slot = (slot + 1) & mask
