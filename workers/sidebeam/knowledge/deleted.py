"""Which leaves of an index are deleted, countable over any stretch of them in constant time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.compiled import bare, compiled
from sidebeam.knowledge.layout import BLOCK_LEAVES, BLOCK_WORDS, COUNT, LEAF, LEAVES, LOW, N_ORDER, ORDER, ROW, ROWS
from sidebeam.knowledge.memory_word import word

Words = npt.NDArray[np.uint32]

NOTHING = np.empty(0, np.uint32)
NOTHING.flags.writeable = False


def deleted_leaves(index: Words, starts: npt.NDArray[np.int64], texts: npt.NDArray[np.int64]) -> Words:
    """The table of `layout` for the suffixes of these texts, text t being `starts[t]` to `starts[t + 1]`.

    Costs one look at every leaf.
    """
    if not len(texts):
        return NOTHING
    n = int(index[N_ORDER])
    gone = np.zeros(int(starts[-1]) + 1, bool)
    for text in texts:
        gone[starts[text] : starts[text + 1]] = True
    table = _count(index[int(index[ORDER]) : int(index[ORDER]) + n], gone)
    table.flags.writeable = False
    return table


@compiled
def _count(order: Words, gone: npt.NDArray[np.bool_]) -> Words:
    """The table, from which places of the text are deleted. Counting may ask for the end, hence the block beyond."""
    table = np.zeros((len(order) // BLOCK_LEAVES + 1) * BLOCK_WORDS, np.uint32)
    total = 0
    for leaf in range(len(order)):
        at, inside = leaf // BLOCK_LEAVES * BLOCK_WORDS, leaf % BLOCK_LEAVES
        if inside == 0:
            table[at] = total
        if gone[order[leaf]]:
            table[at + 1 + (inside >> 5)] |= 1 << (inside & 31)
            total += 1
    if len(order) % BLOCK_LEAVES == 0:
        table[len(table) - BLOCK_WORDS] = total
    return table


@bare
def alive(index: int, gone: int, locus: int) -> int:
    """Leaves at a locus that are not deleted, given the addresses of the index and of the table (0 for none)."""
    if locus & LEAF:
        first, occurs = locus & LOW, 1
    else:
        at = word(index, ROWS) + ROW * locus
        first, occurs = word(index, at + LEAVES), word(index, at + COUNT)
    if gone == 0:
        return occurs
    return occurs - gone_before(gone, first + occurs) + gone_before(gone, first)


@bare
def gone_before(gone: int, leaf: int) -> int:
    """Deleted leaves before a leaf."""
    block, inside = leaf // BLOCK_LEAVES, leaf % BLOCK_LEAVES
    at = block * BLOCK_WORDS
    count = word(gone, at)
    for i in range(inside >> 5):
        count += _ones(word(gone, at + 1 + i))
    return count + _ones(word(gone, at + 1 + (inside >> 5)) & ((1 << (inside & 31)) - 1))


@bare
def _ones(bits: int) -> int:
    bits -= (bits >> 1) & 0x55555555
    bits = (bits & 0x33333333) + ((bits >> 2) & 0x33333333)
    return ((((bits + (bits >> 4)) & 0x0F0F0F0F) * 0x01010101) & 0xFFFFFFFF) >> 24
