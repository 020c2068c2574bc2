"""The likeliest tokens to follow a text: best first over all matches in all indexes, exactly to the budget.

A *source* is one match: an index (or own text), and the places where the last n tokens of the text stand in it. It
says that a path occurs with share `count(path) / count(match)`, and that times the source's weight is its estimate of
the path. A node's estimate is the largest of any source. In every source a child's is at most its parent's, so the
paths come off one heap in order of their estimates, parents first: what comes first is the true top. Ties: the
shallower, then the lower token, then the node whose parent came earlier, then the earlier source.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.compiled import bare
from sidebeam.knowledge.cursors import DELETED, INDEX
from sidebeam.knowledge.deleted import alive, gone_before
from sidebeam.knowledge.layout import (
    CHILDREN,
    COUNT,
    DEPTH,
    END,
    LAST,
    LEAF,
    LEAVES,
    LOW,
    ORDER,
    PLACE,
    ROW,
    ROWS,
    TEXT,
    TOKEN,
)
from sidebeam.knowledge.memory_word import prefetch, word
from sidebeam.knowledge.mixing import mix
from sidebeam.knowledge.own_text import COUNT as COUNT_OF
from sidebeam.knowledge.own_text import TOKENS

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Records = npt.NDArray[np.void]
Record = Any  # one of them
long: Any = np.int64
Step = tuple[int, int, int, float]  # source, parent, depth and decay of paths that are pushed

SOURCE_LIMIT = 192
SOURCE = np.dtype(
    [
        ("first", np.float64),  # weight of first tokens
        ("stay", np.float64),  # of each token beyond
        ("total", np.int64),  # occurrences of the match
        ("locus", np.int64),  # row or leaf; for own texts the first of its `places`
        ("base", np.int64),  # where it stands in the index's text; for own texts the end of its `places`
        ("length", np.int64),  # of its string
        ("slot", np.int64),  # of its index; below 0: own text
        ("cell", np.int64),
    ]
)
# A candidate is a path that may come next. BOUND: a row whose count may include deleted texts; HEAD: a leaf. Both bring
# the sibling after them. SURE: neither does, nor may. RUN: places in an own text.
BOUND, HEAD, SURE, RUN = range(4)
CANDIDATE = np.dtype(
    [
        ("estimate", np.float64),
        ("decay", np.float64),  # the source's `stay` to the power of depth - 1
        ("locus", np.int64),
        ("base", np.int64),  # -1: not looked up yet
        ("length", np.int64),
        ("occurs", np.int64),
        ("of", np.int64),  # occurrences of its parent
        ("owner", np.int64),  # the row that it is a child of
        ("source", np.int64),
        ("parent", np.int64),
        ("depth", np.int64),
        ("token", np.int64),
        ("kind", np.int64),
        ("next", np.int64),  # the next free candidate
    ]
)
FULL = -1  # there are too few candidates
SIZE, FREE, USED, HOLE = range(4)
# Bits of a tie: depth, token, parent + 1, source. Hence the limits.
SOURCE_BITS, NODE_BITS, TOKEN_BITS = 8, 14, 26
NODE_LIMIT = (1 << NODE_BITS) - 2  # nodes of a draft, and their depth
UNKNOWN = -1
GAPS = (40, 13, 4, 1)


class Heap(NamedTuple):
    """Room for candidates, and which of them are open, the best first."""

    candidates: Records  # [room] of CANDIDATE
    estimates: Doubles  # [room] of the open ones, as a binary heap
    ties: Longs  # [room] the lesser first
    open: Ints  # [room] the candidate at each place of the heap
    state: Longs  # [4] SIZE of the heap; the last candidate that became FREE again; ever USED; the top is a HOLE


class Found(NamedTuple):
    """Drafted nodes, best first."""

    ints: Ints  # [3, room] tokens, parents, cells
    floats: npt.NDArray[np.float32]  # [2, room] estimates; shares of the parent's occurrences
    slots: Ints  # [a power of 2, over 2 * room] a hash table of nodes by parent and token


@bare
def grow(
    table: Longs, own: Longs, places: Longs, sources: Records, limits: tuple[int, int, float], heap: Heap, found: Found
) -> int:
    """Fills `found` with up to `limits[0]` nodes, of depth up to `limits[1]`, with estimates from `limits[2]`.

    `table` are the indexes as in `cursors`, `own` own texts as in `own_text`. Returns how many nodes, or FULL.
    """
    nodes, deepest, least = limits
    heap.state[SIZE], heap.state[FREE], heap.state[USED], heap.state[HOLE] = 0, -1, 0, 0
    found.slots[:] = -1
    above, one = long(-1), long(1)  # not literals: for tuples of them, kernels would be compiled once more
    for s in range(len(sources)):
        source = sources[s]
        step = (s, above, one, 1.0)
        if source.slot < 0:
            ok = _push_runs(own[-1 - source.slot], places, sources, step, source.locus, source.base, heap)
        else:
            here = (source.locus, source.base, source.length, source.total)
            ok = _push_below(table[source.slot], sources, step, here, heap)
        if not ok:
            return FULL
    made = 0
    while heap.state[SIZE] > heap.state[HOLE] and made < nodes:
        c = heap.candidates[_pop(heap)]  # free, yet untouched until the next push; so what is needed is read first
        estimate, kind, locus, base, length = c.estimate, c.kind, c.locus, c.base, c.length
        s, parent, depth, token, occurs, decay = c.source, c.parent, c.depth, c.token, c.occurs, c.decay
        of, owner = c.of, c.owner
        if estimate < least:
            break
        source = sources[s]
        step = (s, parent, depth, decay)
        if kind == BOUND:
            index = table[source.slot]
            if not _push_sibling(index, sources, step, owner, locus, length, of, heap):
                return FULL
            live = alive(index[INDEX], index[DELETED], locus)
            if live < occurs:
                if live and not _push(sources, step, token, SURE, (locus, base, length, live), of, owner, heap):
                    return FULL
                continue
        leaf = (locus & LOW) + 1
        if kind == HEAD and not _push_leaf(table[source.slot], sources, step, owner, leaf, length - 1, of, heap):
            return FULL
        slot = _slot(found, parent, token)
        node: int = long(found.slots[slot])
        if node < 0:
            node = made
            found.slots[slot] = node
            found.ints[0, node], found.ints[1, node], found.ints[2, node] = token, parent, source.cell
            found.floats[0, node], found.floats[1, node] = estimate, occurs / of
            made += 1
        if depth == deepest:
            continue
        step = (s, node, depth + 1, decay * source.stay)
        if kind == RUN:
            ok = _push_runs(own[-1 - source.slot], places, sources, step, locus, base, heap)
        else:
            ok = _push_below(table[source.slot], sources, step, (locus, base, length, occurs), heap)
        if not ok:
            return FULL
    return made


@bare
def _slot(found: Found, parent: int, token: int) -> int:
    """Where a node stands in the hash table, or is to stand."""
    mask = len(found.slots) - 1
    slot = mix(parent, token) & mask
    while True:
        node = found.slots[slot]
        if node < 0 or (found.ints[0, node] == token and found.ints[1, node] == parent):
            return slot
        slot = (slot + 1) & mask


@bare
def _push_below(slot: Longs, sources: Records, step: Step, here: tuple[int, int, int, int], heap: Heap) -> bool:
    """Opens the first way on from a locus: its only one, or its most frequent."""
    index = slot[INDEX]
    locus, base, length, occurs = here
    text = word(index, TEXT)
    at = word(index, ROWS) + ROW * locus
    if locus & LEAF or length < word(index, at + DEPTH) & LOW:
        if base == UNKNOWN:
            base = word(index, at + PLACE)
        token = word(index, text + base + length)
        if token == END:
            return True
        return _push(sources, step, token, SURE, (locus, base, length + 1, occurs), occurs, 0, heap)
    child = word(index, at + CHILDREN)
    if child:
        below = word(index, ROWS) + ROW * child
        token = word(index, below + TOKEN) & LOW
        bound = (child, long(UNKNOWN), length + 1, word(index, below + COUNT))
        _expect(index, below, length + 1)
        return _push(sources, step, token, BOUND, bound, occurs, locus, heap)
    return _push_leaf(slot, sources, step, locus, word(index, at + LEAVES), length, occurs, heap)


@bare
def _expect(index: int, at: int, length: int) -> None:
    """Brings near what is read once the row at `at` is popped: a large index costs memory's time, not arithmetic's."""
    child = word(index, at + CHILDREN)
    prefetch(index, word(index, TEXT) + word(index, at + PLACE) + length)
    if child:
        prefetch(index, word(index, ROWS) + ROW * child)


@bare
def _push_sibling(
    slot: Longs, sources: Records, step: Step, owner: int, row: int, length: int, of: int, heap: Heap
) -> bool:
    """Opens the row after `row`, or after the last row the first leaf."""
    index = slot[INDEX]
    at = word(index, ROWS) + ROW * row
    if word(index, at + TOKEN) & LAST:
        leaf = word(index, word(index, ROWS) + ROW * owner + LEAVES)
        return _push_leaf(slot, sources, step, owner, leaf, length - 1, of, heap)
    token = word(index, at + ROW + TOKEN) & LOW
    bound = (row + 1, long(UNKNOWN), length, word(index, at + ROW + COUNT))
    _expect(index, at + ROW, length)
    return _push(sources, step, token, BOUND, bound, of, owner, heap)


@bare
def _push_leaf(
    slot: Longs, sources: Records, step: Step, owner: int, leaf: int, length: int, of: int, heap: Heap
) -> bool:
    """Opens the first leaf from `leaf` on that hangs on row `owner`, goes on and is not deleted."""
    index = slot[INDEX]
    at, order = word(index, ROWS) + ROW * owner, word(index, ORDER)
    child = word(index, at + CHILDREN)
    end = word(index, at + LEAVES) + word(index, at + COUNT)
    if child:
        end = word(index, word(index, ROWS) + ROW * child + LEAVES)
    gone = slot[DELETED]
    while leaf < end and gone and gone_before(gone, leaf + 1) != gone_before(gone, leaf):
        leaf += 1
    if leaf >= end:
        return True
    base = word(index, order + leaf)
    if leaf + 1 < end:
        prefetch(index, word(index, TEXT) + word(index, order + leaf + 1) + length)
    token = word(index, word(index, TEXT) + base + length)
    if token == END:  # and so do all after it
        return True
    return _push(sources, step, token, HEAD, (leaf | LEAF, base, length + 1, long(1)), of, owner, heap)


@bare
def _push_runs(own: Longs, places: Longs, sources: Records, step: Step, first: int, end: int, heap: Heap) -> bool:
    """Opens all ways on from `places[first:end]` of an own text. `places` are of last tokens, of matches or parents."""
    tokens, count = own[TOKENS], own[COUNT_OF]
    length = step[2]  # tokens from a place to the one that may follow
    for gap in GAPS:  # Shell's sort, by the token that follows
        for i in range(first + gap, end):
            place, j = places[i], i
            key = _token_at(tokens, count, place + length)
            while j >= first + gap and _token_at(tokens, count, places[j - gap] + length) > key:
                places[j] = places[j - gap]
                j -= gap
            places[j] = place
    i = first
    while i < end:
        token, j = _token_at(tokens, count, places[i] + length), i + 1
        if token == END:
            break
        while j < end and _token_at(tokens, count, places[j] + length) == token:
            j += 1
        if not _push(sources, step, token, RUN, (i, j, j - i, j - i), end - first, 0, heap):
            return False
        i = j
    return True


@bare
def _token_at(tokens: int, count: int, place: int) -> int:
    return word(tokens, place) if place < count else END


@bare
def _push(
    sources: Records,
    step: Step,
    token: int,
    kind: int,
    here: tuple[int, int, int, int],
    of: int,
    owner: int,
    heap: Heap,
) -> bool:
    free = heap.state[FREE]
    if free >= 0:
        heap.state[FREE] = heap.candidates[free].next
    elif heap.state[USED] < len(heap.open):
        free = heap.state[USED]
        heap.state[USED] += 1
    else:
        return False
    source = sources[step[0]]
    c = heap.candidates[free]
    s, parent, depth, decay = step
    c.source, c.parent, c.depth, c.decay = s, parent, depth, decay
    c.token, c.kind, c.of, c.owner = token, kind, of, owner
    c.locus, c.base, c.length, c.occurs = here
    c.estimate = source.first * (c.occurs / source.total) * decay
    tie = (((((depth << TOKEN_BITS) | token) << NODE_BITS) | (parent + 1)) << SOURCE_BITS) | s
    if heap.state[HOLE]:
        heap.state[HOLE] = 0
        _sink(heap, c.estimate, tie, free)
        return True
    i = heap.state[SIZE]
    heap.state[SIZE] += 1
    while i:  # up, past what is worse
        above = (i - 1) >> 1
        if heap.estimates[above] > c.estimate or (heap.estimates[above] == c.estimate and heap.ties[above] < tie):
            break
        heap.estimates[i], heap.ties[i], heap.open[i] = heap.estimates[above], heap.ties[above], heap.open[above]
        i = above
    heap.estimates[i], heap.ties[i], heap.open[i] = c.estimate, tie, free
    return True


@bare
def _pop(heap: Heap) -> int:
    """Takes the best candidate, and leaves a hole: most often something is pushed next, which may fill it."""
    if heap.state[HOLE]:
        last = heap.state[SIZE] - 1
        heap.state[SIZE] = last
        _sink(heap, heap.estimates[last], heap.ties[last], heap.open[last])
    heap.state[HOLE] = 1
    top: int = long(heap.open[0])
    heap.candidates[top].next = heap.state[FREE]
    heap.state[FREE] = top
    return top


@bare
def _sink(heap: Heap, estimate: float, tie: int, candidate: int) -> None:
    """Puts a candidate into the hole at the top, then down past what is better."""
    n, i = heap.state[SIZE], 0
    estimates, ties = heap.estimates, heap.ties
    while True:
        below = 2 * i + 1
        if below >= n:
            break
        other = below + 1
        if other < n and (
            estimates[other] > estimates[below] or (estimates[other] == estimates[below] and ties[other] < ties[below])
        ):
            below = other
        if estimate > estimates[below] or (estimate == estimates[below] and tie < ties[below]):
            break
        estimates[i], ties[i], heap.open[i] = estimates[below], ties[below], heap.open[below]
        i = below
    estimates[i], ties[i], heap.open[i] = estimate, tie, candidate
