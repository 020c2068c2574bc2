"""The knee of a sweep, on synthetic levels."""

from __future__ import annotations

import pytest

from sidebeam.load.knee import Knee, Level, find_knee


def levels(*given: tuple[float, float | None, float | None], slo: bool = False) -> list[Level]:
    return [Level(rate, share, p95_ms, slo) for rate, share, p95_ms in given]


def queueing(rates: list[float], capacity: float, base_ms: float) -> list[Level]:
    """What a queue with one server does: times grow as 1 / (1 - load), and the rest is turned away."""
    found = []
    for rate in rates:
        load = rate / capacity
        p95_ms = base_ms / (1 - load) if load < 0.95 else base_ms * 20
        found.append(Level(rate, min(1.0, 1 / load), p95_ms, False))
    return found


@pytest.mark.parametrize("capacity", [30.0, 100.0, 555.0])
def test_a_queues_knee_is_where_waiting_has_tripled(capacity: float) -> None:
    rates = [capacity * i / 20 for i in range(1, 31)]
    knee = find_knee(queueing(rates, capacity, 10.0))
    # the lowest rate is at load 0.05: three times its time is reached at load 1 - 0.95 / 3
    assert knee.rate is not None
    assert knee.rate <= capacity * (1 - 0.95 / 3) < (knee.first_broken or 0.0)
    assert "times that of the lowest rate" in knee.reason


def test_shed_requests_make_a_knee_though_answers_stay_fast() -> None:
    knee = find_knee(levels((10, 1.0, 20.0), (20, 0.995, 21.0), (40, 0.7, 22.0), (80, 0.3, 22.0)))
    assert (knee.rate, knee.first_broken) == (20, 40)
    assert str(knee) == "The knee lies at 20/s: at 40/s 70.0% of the arrivals were answered; 99% must be."


def test_with_an_slo_only_the_share_within_it_counts() -> None:
    knee = find_knee(levels((10, 1.0, 5.0), (20, 0.99, 60.0), (40, 0.98, 70.0), slo=True))
    assert (knee.rate, knee.first_broken) == (20, 40)
    assert "within the SLO" in knee.reason


def test_a_rate_that_holds_beyond_a_broken_one_does_not_count() -> None:
    knee = find_knee(levels((10, 1.0, 5.0), (20, 0.5, 5.0), (40, 1.0, 5.0)))
    assert (knee.rate, knee.first_broken) == (10, 20)


def test_no_knee_and_one_below_all_rates() -> None:
    assert find_knee(levels((10, 1.0, 5.0), (20, 1.0, 6.0))) == Knee(20, None, "", True)
    assert str(find_knee(levels((10, 1.0, 5.0), (20, 1.0, 6.0)))).startswith(
        "No knee: the server kept up at every rate"
    )
    broken = find_knee(levels((10, 0.0, None), (20, 0.0, None)))
    assert (broken.rate, broken.first_broken) == (None, 10)
    assert str(broken).startswith("The knee lies below 10/s")
    assert find_knee(levels((10, None, None))).reason == "nothing arrived"


def test_a_slow_client_makes_it_doubtful_up_to_the_knee_only() -> None:
    good, doubtful = Level(10, 1.0, 5.0, False), Level(20, 0.5, 5.0, False, trusted=False)
    assert not find_knee([good, doubtful]).trusted
    assert "client itself" in str(find_knee([good, doubtful]))
    assert find_knee([good, Level(20, 0.5, 5.0, False), Level(40, 0.1, 5.0, False, trusted=False)]).trusted
