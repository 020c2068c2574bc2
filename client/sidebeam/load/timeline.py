"""A step second by second: what arrived, what was answered and how soon, how much was under way."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from sidebeam.load.distribution import Distribution
from sidebeam.load.recording import Recording

MOST_BINS = 120
SHORTEST_S = 0.5
MOST_DOTS = 3000


@dataclass(frozen=True, slots=True)
class Bin:
    """What belongs to one stretch of time: by intended time, except `in_flight`, which is at its start."""

    at_s: float
    arrivals: int
    answered: int
    failed: int
    missed: int
    in_flight: int
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Bins of `width_s` seconds, and single requests as (intended second, milliseconds, whether answered)."""

    width_s: float
    bins: tuple[Bin, ...]
    dots: tuple[tuple[float, float, bool], ...]

    @classmethod
    def of(cls, recording: Recording, window_s: float) -> Timeline:
        """Sort a recording into bins."""
        width_s = max(SHORTEST_S, window_s / MOST_BINS)
        count = max(1, -int(-window_s // width_s))
        arrived, failed, missed = [0] * count, [0] * count, [0] * count
        took: list[list[float]] = [[] for _ in range(count)]
        for intended, ended, ok in zip(recording.intended, recording.ended, recording.answered, strict=True):
            i = min(int(intended / width_s), count - 1)
            arrived[i] += 1
            failed[i] += not ok
            if ok:
                took[i].append((ended - intended) * 1e3)
        for intended in recording.missed:
            i = min(int(intended / width_s), count - 1)
            arrived[i] += 1
            missed[i] += 1
        under_way = _in_flight(recording.sent, recording.ended, [i * width_s for i in range(count)])
        bins = []
        for i in range(count):
            times = Distribution.of(took[i])
            figures = times.percentile(50), times.percentile(99), times.highest
            bins.append(Bin(i * width_s, arrived[i], len(times), failed[i], missed[i], under_way[i], *figures))
        return cls(width_s, tuple(bins), _dots(recording))


def _in_flight(sent: array[float], ended: array[float], at: list[float]) -> list[int]:
    """How many measured requests were under way at each time of `at`, ascending."""
    starts, ends = sorted(sent), sorted(ended)
    found, begun, over = [], 0, 0
    for time_s in at:
        while begun < len(starts) and starts[begun] <= time_s:
            begun += 1
        while over < len(ends) and ends[over] <= time_s:
            over += 1
        found.append(begun - over)
    return found


def _dots(recording: Recording) -> tuple[tuple[float, float, bool], ...]:
    """Every request, or an even choice where there are many; the slow third of the choice is the slowest of all."""
    rows = sorted(range(len(recording)), key=lambda row: recording.intended[row] - recording.ended[row])
    if len(rows) > MOST_DOTS:
        slow, rest = rows[: MOST_DOTS // 3], sorted(rows[MOST_DOTS // 3 :])
        rows = slow + rest[:: -(-len(rest) // (MOST_DOTS - len(slow)))]
    return tuple(
        (recording.intended[row], (recording.ended[row] - recording.intended[row]) * 1e3, bool(recording.answered[row]))
        for row in sorted(rows, key=lambda row: recording.intended[row])
    )
