"""How often a draft of a given width held everything the target wanted: learned from every draft that was made."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats64 = npt.NDArray[np.float64]

WIDTHS = np.array([0, 1, 2, 4, 8, 16, 32, 64, 96, 128], np.int64)
MEMORY = 0.99  # weight kept of earlier requests: the last hundred or so decide
DOUBT = 1.0  # misses assumed before anything has been seen


@dataclass(slots=True)
class _Record:
    hits: Floats64 = field(default_factory=lambda: np.zeros(len(WIDTHS)))
    seen: Floats64 = field(default_factory=lambda: np.zeros(len(WIDTHS)))


class Coverage:
    """For beam width K, and a draft made at one depth for another: P(all wanted nodes are among the n best drafted).

    N-to-K verification needs every one of the K beams, so one wanted node beyond rank n is a miss.
    """

    def __init__(self) -> None:
        self._records: dict[tuple[int, int, int], _Record] = {}

    def observe(self, k: int, depth: int, level: int, drafted: Ints, wanted: Ints, *, exhausted: bool = False) -> None:
        """`drafted`, best first, was made at `depth` for `level` levels below; the target then wanted `wanted`.

        `exhausted`: the drafter had no more to offer, so that a greater width would have brought the same.
        """
        record = self._record(k, depth, level)
        rank = {node: i for i, node in enumerate(drafted.tolist())}
        needed = max((rank.get(node, 1 << 30) for node in wanted.tolist()), default=-1) + 1
        told = len(drafted) >= WIDTHS  # a narrow draft says nothing about wider ones, unless it held everything
        told |= exhausted or needed <= len(drafted)
        record.hits[told] = MEMORY * record.hits[told] + (needed <= WIDTHS[told])
        record.seen[told] = MEMORY * record.seen[told] + 1

    def chances(self, k: int, depth: int, level: int) -> Floats64:
        """P(covered) for each of `WIDTHS`, never falling with the width."""
        record = self._record(k, depth, level)
        return np.maximum.accumulate(record.hits / (record.seen + DOUBT))

    def drafts_seen(self, k: int) -> float:
        """Weight of the drafts seen at the prompt for this beam width."""
        return float(self._record(k, 0, 1).seen[0])

    def _record(self, k: int, depth: int, level: int) -> _Record:
        return self._records.setdefault((int(k).bit_length(), depth, level), _Record())
