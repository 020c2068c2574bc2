"""Suffixes in order, in linear time: SA-IS over integer alphabets (Nong, Zhang and Chan, 2009)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.compiled import compiled

Ints = npt.NDArray[np.int32]


def suffix_array(symbols: Ints, alphabet: int) -> Ints:
    """Starts of all suffixes, smallest first.  # [n]

    `symbols` are 0 .. alphabet - 1. Costs O(n + alphabet) time and 13 bytes per symbol beside the answer.
    """
    n = len(symbols)
    if n < 2:
        return np.arange(n, dtype=np.int32)
    keys, lms = _classify(symbols)
    starts, middles = _buckets(keys, alphabet)
    order = np.empty(n, np.int32)
    _induce(keys, lms, starts, middles, order)
    if len(lms):
        names, kinds = _name(symbols, lms, order)
        if kinds < len(lms):
            ranked = suffix_array(names, kinds)
        else:  # all are different, so that their names are their order
            ranked = np.empty(len(lms), np.int32)
            ranked[names] = np.arange(len(lms), dtype=np.int32)
        _induce(keys, lms[ranked], starts, middles, order)
    return order


@compiled
def _classify(symbols: Ints) -> tuple[npt.NDArray[np.uint32], Ints]:
    """Symbols with the type in the lowest bit (1: smaller than the next suffix), and where such runs begin."""
    n = len(symbols)
    keys = np.empty(n, np.uint32)  # [n]
    keys[n - 1] = symbols[n - 1] << 1
    runs = 0
    for i in range(n - 2, -1, -1):
        here, after = symbols[i], symbols[i + 1]
        if here < after or (here == after and keys[i + 1] & 1):
            keys[i] = (here << 1) | 1
        else:
            keys[i] = here << 1
            runs += keys[i + 1] & 1
    lms = np.empty(runs, np.int32)
    m = 0
    for i in range(1, n):
        if keys[i] & 1 and not keys[i - 1] & 1:
            lms[m] = i
            m += 1
    return keys, lms


@compiled
def _buckets(keys: npt.NDArray[np.uint32], alphabet: int) -> tuple[Ints, Ints]:
    """Where each symbol's suffixes begin, and where the ones of type 1 among them do.  # [alphabet + 1] each"""
    starts = np.zeros(alphabet + 1, np.int32)
    middles = np.zeros(alphabet + 1, np.int32)
    for key in keys:
        if key & 1:
            starts[(key >> 1) + 1] += 1
        else:
            middles[key >> 1] += 1
    total = 0
    for c in range(alphabet + 1):
        total += starts[c]  # of type 1 below c
        starts[c] = total
        total += middles[c]
        middles[c] = total
    return starts, middles


@compiled
def _induce(keys: npt.NDArray[np.uint32], lms: Ints, starts: Ints, middles: Ints, order: Ints) -> None:
    """Sorts all suffixes, given those at `lms` in order (or only their first symbols' order)."""
    n = len(keys)
    order[:] = -1
    free = middles.copy()
    for start in lms:
        c = keys[start] >> 1
        order[free[c]] = start
        free[c] += 1
    free[:] = starts
    c = keys[n - 1] >> 1
    order[free[c]] = n - 1
    free[c] += 1
    for i in range(n):
        before = order[i] - 1
        if before >= 0:
            key = keys[before]
            if not key & 1:
                order[free[key >> 1]] = before
                free[key >> 1] += 1
    free[:] = starts
    for i in range(n - 1, -1, -1):
        before = order[i] - 1
        if before >= 0:
            key = keys[before]
            if key & 1:
                c = (key >> 1) + 1
                free[c] -= 1
                order[free[c]] = before


@compiled
def _name(symbols: Ints, lms: Ints, order: Ints) -> tuple[Ints, int]:
    """A name for each stretch from one of `lms` to the next, equal for equal stretches, in order."""
    n, m = len(symbols), len(lms)
    number = np.full(n, -1, np.int32)
    for j in range(m):
        number[lms[j]] = j
    names = np.empty(m, np.int32)
    name, last = -1, -1
    for i in range(n):
        j = number[order[i]]
        if j < 0:
            continue
        same = False
        if last >= 0:
            a, b = lms[last], lms[j]
            end_a = lms[last + 1] if last + 1 < m else n
            end_b = lms[j + 1] if j + 1 < m else n
            same = end_a - a == end_b - b
            while same and a < end_a:
                same = symbols[a] == symbols[b]
                a += 1
                b += 1
            same = same and a < n and b < n and symbols[a] == symbols[b]
        if not same:
            name += 1
        names[j] = name
        last = j
    return names, name + 1


@compiled
def common_prefixes(symbols: Ints, order: Ints, end: int) -> Ints:
    """How many symbols each suffix in order shares with the one before, up to the first `end` in them.  # [len(order)]

    `order` may leave out suffixes, as long as it keeps the order of the others. (Kärkkäinen, Manzini, Puglisi, 2009.)
    """
    n = len(symbols)
    shared = np.full(n, -1, np.int32)  # by start; first the suffix before, then what it shares with that
    for i in range(1, len(order)):
        shared[order[i]] = order[i - 1]
    length = 0
    for i in range(n):
        j = shared[i]
        if j < 0:
            length = 0
            shared[i] = 0
            continue
        most = n - max(i, j)
        while length < most and symbols[i + length] == symbols[j + length] and symbols[i + length] != end:
            length += 1
        shared[i] = length
        length = max(length - 1, 0)
    sorted_shared = np.empty(len(order), np.int32)
    for i in range(len(order)):
        sorted_shared[i] = shared[order[i]]
    return sorted_shared
