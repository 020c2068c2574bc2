"""The sources of a draft: all matches of a text's end, each with what its counts are worth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.best_first import Record, Records
from sidebeam.knowledge.calibration import EVIDENCES, RANKS
from sidebeam.knowledge.compiled import bare
from sidebeam.knowledge.cursors import BASE, DELETED, INDEX, LENGTH, LOCUS, MATCH_LIMIT, TIER
from sidebeam.knowledge.deleted import alive
from sidebeam.knowledge.layout import NONE
from sidebeam.knowledge.memory_word import word
from sidebeam.knowledge.mixing import mix
from sidebeam.knowledge.own_text import BEFORE, COUNT, LATEST, MASK, TOKENS

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

PLACE_LIMIT = 128  # places of an own text that are looked at, the latest ones


@bare
def pool_sources(
    table: Longs,
    cursors: Longs,
    counts: Ints,
    weights: Doubles,
    sources: Records,
) -> int:
    """Fills `sources` with the matches in all indexes, each index's longest first; returns how many.

    Suffixes of the text that occur at the same places are one match, of the longest's length; so are those that occur
    at hardly more, see `_tells_more`. `weights` [2, CELLS] are of first and of later tokens.
    """
    n = 0
    for slot in range(len(table)):
        n_cursors = counts[slot]
        if not n_cursors:
            continue
        whole = alive(table[slot, INDEX], table[slot, DELETED], cursors[slot, n_cursors - 1, LOCUS])
        rank, before = 0, 0
        for i in range(n_cursors):
            at = cursors[slot, i]
            total = alive(table[slot, INDEX], table[slot, DELETED], at[LOCUS])
            if not _tells_more(total, before, whole):
                continue
            source = sources[n]
            source.locus, source.base, source.length, source.total = at[LOCUS], at[BASE], at[LENGTH], total
            _weigh(source, slot, table[slot, TIER], min(at[LENGTH], MATCH_LIMIT), rank, weights)
            rank, before = rank + 1, total
            n += 1
    return n


@bare
def own_sources(
    own: Longs,
    end: Longs,
    slot: int,
    tier: int,
    weights: Doubles,
    sources: Records,
    n: int,
    places: Longs,
    used: int,
    near: Longs,
) -> tuple[int, int]:
    """Adds the matches in an own text after the first n `sources` and `used` places; returns both numbers afterwards.

    `end` is the text that is drafted for. Where it is the own text itself, its end is not one of the places.
    `near` [3, PLACE_LIMIT] is scratch.
    """
    last = end[COUNT] - 1
    if last < 0:
        return n, used
    place = _latest(own, word(end[TOKENS], last))
    if place >= 0 and place == own[COUNT] - 1:  # the end itself, or what nothing follows
        place = _earlier(own, place)
    found, lengths, at_least = 0, near[1], near[2]
    at_least[: MATCH_LIMIT + 2] = 0
    while place >= 0 and found < PLACE_LIMIT:
        most = min(MATCH_LIMIT, place + 1, last + 1)
        length = 1
        while length < most and word(own[TOKENS], place - length) == word(end[TOKENS], last - length):
            length += 1
        near[0, found], lengths[found] = place, length
        at_least[length] += 1
        found += 1
        place = _earlier(own, place)
    for length in range(MATCH_LIMIT, 0, -1):
        at_least[length] += at_least[length + 1]
    rank, before = 0, 0
    for length in range(MATCH_LIMIT, 0, -1):
        total = at_least[length]
        if not _tells_more(total, before, at_least[1]):
            continue
        source = sources[n]
        source.locus, source.base, source.length, source.total = used, used + total, length, total
        for i in range(found):
            if lengths[i] >= length:
                places[used] = near[0, i]
                used += 1
        _weigh(source, slot, tier, length, rank, weights)
        rank, before = rank + 1, total
        n += 1
    return n, used


@bare
def _tells_more(total: int, before: int, whole: int) -> bool:
    """Whether a match counts beside the longer one that occurs `before` times, all of them places of this one too.

    It must occur twice as often, or be the shortest, so that no token is lost that ever followed. The others would say
    what those two say, and every draft would be looked up as often as there are matches.
    """
    return total > before and (total >= 2 * before or total == whole)


@bare
def _weigh(source: Record, slot: int, tier: int, length: int, rank: int, weights: Doubles) -> None:
    evidence = 0 if source.total < 2 else 1 if source.total < 4 else 2
    cell = ((tier * MATCH_LIMIT + length - 1) * RANKS + min(rank, RANKS - 1)) * EVIDENCES + evidence
    source.slot, source.cell, source.first, source.stay = slot, cell, weights[0, cell], weights[1, cell]


@bare
def _latest(own: Longs, token: int) -> int:
    """The last place of a token in an own text, -1 for none."""
    slot = mix(token, 0) & own[MASK]
    while word(own[LATEST], 2 * slot) != token and word(own[LATEST], 2 * slot) != NONE:
        slot = (slot + 1) & own[MASK]
    return _place(word(own[LATEST], 2 * slot + 1))


@bare
def _earlier(own: Longs, place: int) -> int:
    """The place before of the same token, -1 for none."""
    return _place(word(own[BEFORE], place))


@bare
def _place(read: int) -> int:
    return -1 if read == NONE else read
