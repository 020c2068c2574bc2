"""The client's judgement of itself, and the pacer it rests on."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from sidebeam.load.client_check import ClientCheck, LoopProbe
from sidebeam.load.distribution import Distribution
from sidebeam.load.pacer import Pacer


def flat(ms: float) -> Distribution:
    return Distribution.of([ms] * 100)


def tailed(ms: float, tail_ms: float) -> Distribution:
    return Distribution.of([ms] * 95 + [tail_ms] * 5)


@pytest.mark.parametrize(
    ("lag", "latency", "told"),
    [
        (flat(0.3), flat(2.0), ""),  # below the floor, though more than a tenth
        (flat(1.5), flat(12.0), "p50 1.5 ms, at most 1.2 ms"),
        (flat(1.5), flat(16.0), ""),
        (tailed(0.3, 30.0), flat(40.0), "p99 30.0 ms, at most 5.0 ms"),
        (tailed(0.3, 30.0), tailed(40.0, 400.0), ""),
        (tailed(0.3, 6.0), Distribution.of([]), "p99 6.0 ms, at most 5.0 ms"),
    ],
)
def test_lags_are_judged_by_what_they_distort(lag: Distribution, latency: Distribution, told: str) -> None:
    check = ClientCheck.of(lag, None, 0.1, latency)
    assert check.trusted == (not told)
    assert told in " ".join(check.reasons)


def test_sending_and_work_are_judged_too() -> None:
    assert "requests were sent late" in ClientCheck.of(flat(0.1), flat(50.0), 0.1, flat(60.0)).reasons[0]
    assert "0.97 of its one core" in ClientCheck.of(flat(0.1), flat(0.1), 0.97, flat(60.0)).reasons[0]


def test_the_probe_sees_a_loop_that_stands_still() -> None:
    async def stand_still() -> list[float]:
        with LoopProbe() as probe:
            await asyncio.sleep(0.3)
            probe.restart()
            time.sleep(0.3)  # noqa: ASYNC251
            await asyncio.sleep(0.1)
            return probe.late_s

    late_s = asyncio.run(stand_still())
    assert max(late_s) > 0.2
    assert sum(each > 0.05 for each in late_s) >= 15  # a probe every 10 ms all the while


def test_calls_come_in_order_and_never_early() -> None:
    async def pace() -> list[tuple[float, float]]:
        start, called = time.perf_counter() + 0.01, []
        due = [start + i / 200 for i in range(100)]
        with Pacer(due, lambda at: called.append((at, time.perf_counter()))) as pacer:
            await pacer.done.wait()
        return called

    called = asyncio.run(pace())
    assert len(called) == 100
    assert [at for at, _ in called] == sorted(at for at, _ in called)
    assert all(now >= at for at, now in called)


def test_leaving_stops_the_calls_at_once() -> None:
    async def leave() -> tuple[int, float]:
        called: list[float] = []
        begun = time.perf_counter()
        with Pacer((begun + i for i in itertools.count()), called.append):
            await asyncio.sleep(0.2)
        before = len(called)
        await asyncio.sleep(0.1)
        return len(called) - before, time.perf_counter() - begun

    after, took_s = asyncio.run(leave())
    assert after == 0
    assert took_s < 0.9  # the next call would have been due a second after the first
