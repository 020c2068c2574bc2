"""A draft as one call, so that Python's share of it stays small."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.best_first import Found, Heap, Records, grow
from sidebeam.knowledge.calibration import ENTITY, REQUEST
from sidebeam.knowledge.compiled import bare
from sidebeam.knowledge.matches import own_sources, pool_sources
from sidebeam.knowledge.own_text import COUNT, SEARCHED

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]


@bare
def retrieve(
    table: Longs,
    cursors: Longs,
    counts: Ints,
    own: Longs,
    weights: npt.NDArray[np.float64],
    limits: tuple[int, int, float],
    sources: Records,
    places: Longs,
    near: Longs,
    heap: Heap,
    found: Found,
) -> int:
    """Finds all matches of a text's end, where the cursors stand, and fills `found`; see `grow`.

    `own` [2, OWN] are the request's text, whose end is drafted for, and the entity's.
    """
    n = pool_sources(table, cursors, counts, weights, sources)
    used = 0
    for k, tier in ((0, REQUEST), (1, ENTITY)):
        if own[k, SEARCHED] and own[k, COUNT]:
            n, used = own_sources(own[k], own[0], -1 - k, tier, weights, sources, n, places, used, near)
    return grow(table, own, places, sources[:n], limits, heap, found)
