"""Building an index: suffixes in order, the tree over them, and its nodes laid out by how often they occur."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.compiled import compiled
from sidebeam.knowledge.error import KnowledgeError
from sidebeam.knowledge.layout import (
    CHILDREN,
    COUNT,
    DEPTH,
    EDGE_MASK,
    EDGES,
    END,
    HEADER,
    LAST,
    LEAF,
    LEAVES,
    LOW,
    N_ORDER,
    N_ROWS,
    N_TEXT,
    NARROW,
    NONE,
    ORDER,
    PLACE,
    ROW,
    ROWS,
    TEXT,
    TEXT_LIMIT,
    TOKEN,
    TOKEN_LIMIT,
    WIDE,
)
from sidebeam.knowledge.mixing import mix
from sidebeam.knowledge.suffix_sort import common_prefixes, suffix_array

Ints = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint32]


def join(texts: Sequence[npt.ArrayLike]) -> Words:
    """The texts one after the other, `END` after each."""
    parts: list[npt.NDArray[np.uint32]] = []
    end = np.array([END], np.uint32)
    for text in texts:
        parts += [np.asarray(text, np.uint32), end]
    return np.concatenate(parts) if parts else np.empty(0, np.uint32)


def build_index(text: Words) -> Words:
    """The index of tokens with `END` after each text: see `layout`.

    Raises `KnowledgeError` for a token id or a number of tokens beyond the limits.
    """
    n = len(text)
    if n > TEXT_LIMIT:
        raise KnowledgeError(f"an index holds up to {TEXT_LIMIT:,} tokens; given {n:,}")
    symbols, alphabet = _symbols(text)
    n_order = n - int(np.count_nonzero(text == END))
    order = suffix_array(symbols, alphabet)[:n_order]  # END is the largest symbol: what begins with it comes last
    shared = common_prefixes(symbols, order, alphabet - 1)
    del symbols
    depth, first, last, child, sibling = _intervals(shared)
    del shared
    n_rows, rows_at = len(depth), HEADER + n + n_order
    edges_at = rows_at + ROW * n_rows
    body = np.empty(edges_at, np.uint32)
    body[HEADER : HEADER + n] = text
    rows = body[rows_at:edges_at].reshape(n_rows, ROW)
    n_edges = int(_lay_out(text, order, depth, first, last, child, sibling, body[HEADER + n : rows_at], rows))
    slots = 1 << max(n_edges * 3 // 2, 1).bit_length()  # a third to two thirds full
    index = np.concatenate([body, np.full(2 * slots, NONE, np.uint32)])
    header = {TEXT: HEADER, N_TEXT: n, ORDER: HEADER + n, N_ORDER: n_order, ROWS: rows_at, N_ROWS: n_rows}
    header |= {EDGES: edges_at, EDGE_MASK: slots - 1}
    index[:HEADER] = [header.get(word, 0) for word in range(HEADER)]
    _fill_edges(index)
    index.flags.writeable = False
    return index


def _symbols(text: Words) -> tuple[Ints, int]:
    """Tokens as 0, 1, ... in their order without gaps, `END` the last."""
    ends = text == END
    tokens = text[~ends]
    most = int(tokens.max(initial=0))
    if most >= TOKEN_LIMIT:
        raise KnowledgeError(f"token ids must be below {TOKEN_LIMIT:,}; given {most:,}")
    seen = np.zeros(most + 1, bool)
    seen[tokens] = True
    rank = np.cumsum(seen, dtype=np.int32) - 1
    alphabet = int(rank[-1]) + 2
    symbols = np.full(len(text), alphabet - 1, np.int32)
    symbols[~ends] = rank[tokens]
    return symbols, alphabet


@compiled
def _intervals(shared: Ints) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """Inner nodes as intervals of the order, children before parents, the root last.

    Returns each one's string length, first and last leaf, first child and next sibling (-1 for none).
    """
    n = len(shared)
    depth, first, last = np.empty(n + 1, np.int32), np.empty(n + 1, np.int32), np.empty(n + 1, np.int32)
    child, sibling = np.empty(n + 1, np.int32), np.full(n + 1, -1, np.int32)
    open_depth, open_first = np.zeros(n + 2, np.int32), np.zeros(n + 2, np.int32)
    open_child, open_last = np.full(n + 2, -1, np.int32), np.full(n + 2, -1, np.int32)
    top, nodes = 0, 0
    for i in range(1, n + 1):
        now = shared[i] if i < n else -1
        begin, closed = i - 1, -1
        while top >= 0 and now < open_depth[top]:
            depth[nodes], first[nodes], last[nodes] = open_depth[top], open_first[top], i - 1
            if closed >= 0:
                _adopt(open_child, open_last, sibling, top, closed)
            child[nodes] = open_child[top]
            begin, closed = open_first[top], nodes
            nodes += 1
            top -= 1
            if top >= 0 and now <= open_depth[top]:
                _adopt(open_child, open_last, sibling, top, closed)
                closed = -1
        if i < n and now > open_depth[top]:
            top += 1
            open_depth[top], open_first[top], open_child[top], open_last[top] = now, begin, -1, -1
            if closed >= 0:
                _adopt(open_child, open_last, sibling, top, closed)
    if n == 0:
        depth[0], first[0], last[0], child[0], nodes = 0, 0, -1, -1, 1
    return depth[:nodes].copy(), first[:nodes].copy(), last[:nodes].copy(), child[:nodes].copy(), sibling[:nodes].copy()


@compiled
def _adopt(open_child: Ints, open_last: Ints, sibling: Ints, parent: int, node: int) -> None:
    if open_child[parent] < 0:
        open_child[parent] = node
    else:
        sibling[open_last[parent]] = node
    open_last[parent] = node


@compiled
def _places(order: Ints, first: Ints, last: Ints, child: Ints, sibling: Ints) -> Ints:
    """Where each inner node's string stands in the text for the first time.

    What is said often has been said early: so drafts read the beginning of a long text, which stays near, and a row's
    place is most often that of the row above it.
    """
    places = np.empty(len(first), np.int32)
    for node in range(len(first)):  # children come before their parents
        least, at, below = np.int32(0x7FFFFFFF), first[node], child[node]
        while below >= 0:
            least = min(least, places[below])
            for i in range(at, first[below]):
                least = min(least, order[i])
            at, below = last[below] + 1, sibling[below]
        for i in range(at, last[node] + 1):
            least = min(least, order[i])
        places[node] = least if len(order) else 0
    return places


@compiled
def _lay_out(
    text: Words,
    order: Ints,
    depth: Ints,
    first: Ints,
    last: Ints,
    child: Ints,
    sibling: Ints,
    leaves: Words,
    rows: Words,
) -> int:
    """Fills `leaves` and `rows`, a row's children soon after it, most frequent first. Returns the wide rows' ways on.

    Children of equal count stand by token.
    """
    n_rows = len(depth)
    places = _places(order, first, last, child, sibling)
    todo, todo_row = np.empty(n_rows, np.int32), np.empty(n_rows, np.int32)
    todo[0], todo_row[0] = n_rows - 1, 0
    rows[0, LEAVES], rows[0, COUNT], rows[0, TOKEN] = 0, last[n_rows - 1] + 1, LAST
    found = np.empty(n_rows, np.int64)  # children, as (-count, token)
    names = np.empty(n_rows, np.int32)
    top, made, edges = 1, 1, 0
    while top:
        top -= 1
        node, row = todo[top], todo_row[top]
        begin, place, k = int(rows[row, LEAVES]), first[node], 0
        at, below = begin, child[node]
        while below >= 0:
            at = _hang(order, place, first[below], leaves, at)
            place = last[below] + 1
            token = np.int64(text[order[first[below]] + depth[node]])
            found[k], names[k] = ((np.int64(first[below]) - last[below]) << 32) | token, below
            k += 1
            below = sibling[below]
        at = _hang(order, place, last[node] + 1, leaves, at)
        ways = k + at - begin
        rows[row, PLACE], rows[row, DEPTH], rows[row, CHILDREN] = places[node], depth[node], made if k else 0
        if ways > NARROW or row == 0:
            rows[row, DEPTH] = depth[node] | WIDE
            edges += ways
        _sort(found, names, k)
        for j in range(k):
            below = names[j]
            rows[made + j, LEAVES], rows[made + j, COUNT] = at, last[below] - first[below] + 1
            rows[made + j, TOKEN] = (found[j] & 0xFFFFFFFF) | (LAST if j == k - 1 else 0)
            at += last[below] - first[below] + 1
        for j in range(k - 1, -1, -1):
            todo[top], todo_row[top] = names[j], made + j
            top += 1
        made += k
    return edges


@compiled
def _hang(order: Ints, begin: int, end: int, leaves: Words, at: int) -> int:
    """Puts `order[begin:end]` among the leaves from `at` on; returns where they end."""
    for i in range(begin, end):
        leaves[at] = order[i]
        at += 1
    return at


@compiled
def _sort(keys: npt.NDArray[np.int64], values: Ints, k: int) -> None:
    """Sorts the first k of both by key."""
    if k > 24:
        by = np.argsort(keys[:k])
        keys[:k] = keys[:k][by]
        values[:k] = values[:k][by]
        return
    for i in range(1, k):
        key, value, j = keys[i], values[i], i
        while j and keys[j - 1] > key:
            keys[j], values[j] = keys[j - 1], values[j - 1]
            j -= 1
        keys[j], values[j] = key, value


@compiled
def _fill_edges(index: Words) -> None:
    """Fills the hash table: a slot holds what follows, then the row it follows."""
    order, rows, edges = int(index[ORDER]), int(index[ROWS]), int(index[EDGES])
    mask = int(index[EDGE_MASK])
    for row in range(int(index[N_ROWS])):
        at = rows + ROW * row
        if not index[at + DEPTH] & WIDE:
            continue
        depth, leaf = int(index[at + DEPTH]) & LOW, int(index[at + LEAVES])
        child, end = int(index[at + CHILDREN]), leaf + int(index[at + COUNT])
        if child:
            end = int(index[rows + ROW * child + LEAVES])
            while True:
                token = int(index[rows + ROW * child + TOKEN])
                _put(index, edges, mask, row, token & LOW, child)
                if token & LAST:
                    break
                child += 1
        for place in range(leaf, end):
            token = int(index[int(index[TEXT]) + int(index[order + place]) + depth])
            if token != END:
                _put(index, edges, mask, row, token, place | LEAF)


@compiled
def _put(index: Words, edges: int, mask: int, row: int, token: int, value: int) -> None:
    slot = mix(row, token) & mask
    while index[edges + 2 * slot] != NONE:
        slot = (slot + 1) & mask
    index[edges + 2 * slot], index[edges + 2 * slot + 1] = value, row
