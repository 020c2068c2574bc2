"""What a draft must be, counted place by place in plain Python."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.calibration import ENTITY, EVIDENCES, LENGTHS, RANKS, REQUEST

Text = Sequence[int]
Path = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """Places (text, next position) where the last tokens stand, and what they are worth."""

    places: list[tuple[Text, int]]
    cell: int


def count(texts: Sequence[Text], tokens: Text) -> int:
    """How often the tokens stand in the texts."""
    return sum(list(text[i : i + len(tokens)]) == list(tokens) for text in texts for i in range(len(text)))


def matches(texts: Sequence[Text], end: Text, tier: int, *, open_end: bool) -> Iterator[Match]:
    """Longest first; one counts if it occurs twice as often as the last that did, or if it is the shortest.

    Of those with the same places only the longest. `open_end` leaves out a text's last place.
    """
    rank, before = 0, 0
    found = {
        length: [
            (text, i + length)
            for text in texts
            for i in range(len(text) - length + (0 if open_end else 1))
            if list(text[i : i + length]) == list(end[-length:])
        ]
        for length in range(min(LENGTHS, len(end)), 0, -1)
    }
    for length, places in found.items():
        if len(places) == before or (len(places) < 2 * before and len(places) < len(found[1])):
            continue
        evidence = 0 if len(places) < 2 else 1 if len(places) < 4 else 2
        cell = ((tier * LENGTHS + length - 1) * RANKS + min(rank, RANKS - 1)) * EVIDENCES + evidence
        yield Match(places, cell)
        rank, before = rank + 1, len(places)


def estimates(match: Match, depth: int, weights: npt.NDArray[np.float64]) -> dict[Path, tuple[float, float]]:
    """Every path that was ever seen after the match: its estimate, and its share of its parent's places."""
    found: dict[Path, tuple[float, float]] = {}
    level: dict[Path, list[tuple[Text, int]]] = {(): match.places}
    decay = 1.0
    for _ in range(depth):
        below: dict[Path, list[tuple[Text, int]]] = {}
        for path, places in level.items():
            for text, at in places:
                if at < len(text):
                    below.setdefault((*path, text[at]), []).append((text, at + 1))
        for path, places in below.items():
            estimate = float(weights[0, match.cell]) * (len(places) / len(match.places)) * decay
            found[path] = estimate, len(places) / len(level[path[:-1]])
        level, decay = below, decay * float(weights[1, match.cell])
    return found


def draft(
    pools: Sequence[tuple[Sequence[Text], int]],
    request: Text,
    entity: Text,
    weights: npt.NDArray[np.float64],
    nodes: int,
    depth: int,
    least: float = 0.0,
) -> list[tuple[Path, float, int]]:
    """Path, estimate and cell of the best nodes, in order."""
    sources = [match for texts, tier in pools for match in matches(texts, request, tier, open_end=False)]
    sources += matches([request], request, REQUEST, open_end=True)
    sources += matches([entity], request, ENTITY, open_end=True)
    best: dict[Path, tuple[float, int]] = {}
    for match in sources:
        for path, (estimate, _) in estimates(match, depth, weights).items():
            if path not in best or estimate > best[path][0]:
                best[path] = estimate, match.cell
    below: dict[Path, list[Path]] = {}
    for path in best:
        below.setdefault(path[:-1], []).append(path)
    found: list[tuple[Path, float, int]] = []
    order: dict[Path, int] = {(): -1}
    heap: list[tuple[float, int, int, int, Path]] = []
    todo = [()]
    while True:
        for parent in todo:
            for path in below.get(parent, []):
                heapq.heappush(heap, (-best[path][0], len(path), path[-1], order[parent], path))
        if not heap or len(found) == nodes or -heap[0][0] < least:
            return found
        path = heapq.heappop(heap)[-1]
        order[path] = len(found)
        found.append((path, *best[path]))
        todo = [path]
