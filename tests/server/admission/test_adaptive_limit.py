"""The limit finds the most that come in time."""

from __future__ import annotations

import pytest

from sidebeam.server.admission.adaptive_limit import BACK_OFF, AdaptiveLimit


def settled(deadline_s: float, most: int = 64) -> AdaptiveLimit:
    """After many rounds on a machine whose answers take 10 ms, and 10 ms more for each other one inside."""
    limit, now = AdaptiveLimit(most), 0.0
    for _ in range(3000):
        inside = limit.now
        took = 0.01 * (1 + inside)
        now += took
        for _ in range(inside):
            if took <= deadline_s:
                limit.in_time(inside)
            else:
                limit.too_late(inside, now - took, now)
    return limit


@pytest.mark.parametrize(("deadline_s", "best"), [(0.105, 9), (0.305, 29)])
def test_it_stays_near_the_most_that_come_in_time(deadline_s: float, best: int) -> None:
    assert BACK_OFF * best - 1 <= settled(deadline_s).now <= best + 1


def test_hopeless_deadlines_leave_one() -> None:
    assert settled(0.001).now == 1


def test_it_never_leaves_its_bounds() -> None:
    assert settled(10.0, most=8).now == 8
    with pytest.raises(ValueError, match="given 0"):
        AdaptiveLimit(0)


def test_what_is_not_used_does_not_grow() -> None:
    limit = AdaptiveLimit(10)
    for at in range(20):
        limit.too_late(10, at, at)
    low = limit.now
    for _ in range(1000):
        limit.in_time(low // 2 - 1)
    assert limit.now == low


def test_it_falls_from_what_was_inside() -> None:
    limit = AdaptiveLimit(100)
    limit.too_late(10, 0.0, 1.0)
    assert limit.now == int(10 * BACK_OFF)


def test_one_bad_moment_counts_once() -> None:
    limit = AdaptiveLimit(100)
    for _ in range(50):  # all let in before the first of them was too late
        limit.too_late(100, 1.0, 2.0)
    assert limit.now == int(100 * BACK_OFF)


def test_another_bound_takes_a_limit_along_that_was_never_lowered() -> None:
    limit = AdaptiveLimit(10)
    limit.bound(20)
    assert limit.now == 20
    limit.too_late(20, started_at=1.0, now=2.0)
    lowered = limit.now
    assert lowered < 20
    limit.bound(40)
    assert limit.now == lowered
    limit.bound(5)
    assert limit.now == 5
    with pytest.raises(ValueError, match="at least 1; given 0"):
        limit.bound(0)
