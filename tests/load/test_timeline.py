"""Second by second: nothing is lost, and what is under way is counted as by hand."""

from __future__ import annotations

from random import Random

import pytest

from sidebeam.load.caller import Outcome
from sidebeam.load.recording import SLOWEST, Recording
from sidebeam.load.timeline import MOST_BINS, MOST_DOTS, Timeline


def record(count: int, window_s: float, seed: int = 0) -> Recording:
    random, recording = Random(seed), Recording(50.0)
    for i in range(count):
        at = 50.0 + random.uniform(0, window_s)
        code = "OK" if random.random() < 0.8 else "UNAVAILABLE"
        recording.add(Outcome("", f"r{i}", at, sent=at, ended=at + random.expovariate(5), code=code))
        if random.random() < 0.1:
            recording.miss(50.0 + random.uniform(0, window_s))
    return recording


@pytest.mark.parametrize(("count", "window_s"), [(0, 2.0), (1, 0.3), (500, 10.0), (500, 7.3), (300, 600.0)])
def test_every_arrival_is_in_one_bin(count: int, window_s: float) -> None:
    recording = record(count, window_s)
    line = Timeline.of(recording, window_s)
    assert len(line.bins) <= MOST_BINS
    assert sum(each.arrivals for each in line.bins) == len(recording) + len(recording.missed)
    assert sum(each.answered for each in line.bins) == sum(recording.answered)
    assert sum(each.failed for each in line.bins) == len(recording) - sum(recording.answered)
    for each in line.bins:
        under_way = [s <= each.at_s < e for s, e in zip(recording.sent, recording.ended, strict=True)]
        assert each.in_flight == sum(under_way)


def test_a_choice_of_dots_keeps_the_slowest() -> None:
    recording = record(3 * MOST_DOTS, 100.0)
    dots = Timeline.of(recording, 100.0).dots
    assert MOST_DOTS * 0.6 < len(dots) <= MOST_DOTS
    took = sorted(((end - at) * 1e3 for at, end in zip(recording.intended, recording.ended, strict=True)), reverse=True)
    kept = sorted((ms for _, ms, _ in dots), reverse=True)
    assert kept[: MOST_DOTS // 3] == pytest.approx(took[: MOST_DOTS // 3])
    assert min(kept) < took[len(took) // 2]
    assert [at for at, _, _ in dots] == sorted(at for at, _, _ in dots)


def test_the_slowest_are_known_by_their_ids() -> None:
    recording = record(500, 10.0)
    slowest = list(recording.slowest())
    took = sorted(((end - at) * 1e3 for at, end in zip(recording.intended, recording.ended, strict=True)), reverse=True)
    assert [ms for ms, *_ in slowest] == pytest.approx(took[:SLOWEST])
    assert len({request_id for _, request_id, _, _ in slowest}) == SLOWEST


def test_what_was_due_in_the_warm_up_is_not_noted() -> None:
    recording = Recording(50.0)
    recording.add(Outcome("", "r", 49.9, sent=49.9, ended=51.0, code="OK"))
    recording.miss(49.9)
    assert len(recording) == len(recording.missed) == 0
