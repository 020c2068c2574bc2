"""Which deadlines are hopeless."""

from __future__ import annotations

from sidebeam.server.admission.service_time import GROWTH, SAFETY, ServiceTime


def test_nothing_is_hopeless_before_the_first_answer() -> None:
    assert not ServiceTime().is_out_of_reach(1e-9)


def test_the_fastest_answers_count() -> None:
    time = ServiceTime()
    for took in (0.2, 0.04, 0.3):
        time.observe(took)
    assert time.least_s == 0.04 * GROWTH
    assert time.is_out_of_reach(0.99 * SAFETY * time.least_s)
    assert not time.is_out_of_reach(1.01 * SAFETY * time.least_s)


def test_a_change_for_the_worse_is_noticed() -> None:
    time = ServiceTime()
    time.observe(0.01)
    for _ in range(200):
        time.observe(0.3)
    assert time.least_s == 0.3
