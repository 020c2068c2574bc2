"""Percentiles, and the HdrHistogram files made of the same durations."""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from sidebeam.load.distribution import PERCENTS, Distribution
from sidebeam.load.histogram import DIGITS, HIGHEST_NS, LOWEST_NS, log_text, percentile_text
from sidebeam.load.summary import Summary


@pytest.mark.parametrize("count", [1, 2, 3, 10, 99, 100, 101, 1000, 4999])
def test_a_percentile_is_the_least_that_so_many_do_not_exceed(count: int) -> None:
    random = Random(count)
    durations = [random.lognormvariate(3, 1) for _ in range(count)]
    made = Distribution.of(durations)
    for percent in (0.1, 50, 90, 95, 99, 99.9):
        found = made.percentile(percent)
        assert found in durations
        assert sum(each <= found for each in durations) >= percent / 100 * count - 1e-9
        assert sum(each < found for each in durations) < percent / 100 * count + 1e-9


def test_what_never_happened_is_left_out() -> None:
    made = Distribution.of([3.0, math.nan, 1.0])
    assert made.ms == (1.0, 3.0)
    assert (made.mean, made.highest, made.within(1.0)) == (2.0, 3.0, 1)
    nothing = Distribution.of([math.nan])
    assert set(nothing.figures().values()) == {0, None}


def test_figures_are_named_as_rules_name_them() -> None:
    assert list(Distribution.of([1.0]).figures()) == [
        "count", "mean_ms", "p50_ms", "p75_ms", "p90_ms", "p95_ms", "p99_ms", "p99_9_ms", "max_ms",
    ]  # fmt: skip


def test_a_percentile_file_agrees_to_three_digits() -> None:
    random = Random(5)
    made = Distribution.of(random.lognormvariate(3, 1) for _ in range(5_000))
    lines = percentile_text(made).splitlines()
    rows = [tuple(map(float, line.split()[:3])) for line in lines if re.match(r"\s*\d", line)]
    assert rows[-1][1:] == (1.0, 5_000)
    for value_ms, share, count in rows:
        assert bisect.bisect_right(made.ms, value_ms * 1.002) >= count * 0.998
        assert value_ms == pytest.approx(made.percentile(100 * share), rel=0.01), share
    (mean, deviation) = map(float, re.findall(r"= +([\d.]+)", lines[-3]))
    assert mean == pytest.approx(made.mean, rel=0.002)
    exact = math.sqrt(sum((each - (made.mean or 0)) ** 2 for each in made.ms) / len(made))
    assert deviation == pytest.approx(exact, rel=0.01)


def test_the_log_is_read_by_the_librarys_own_reader(tmp_path: Path, summary: Callable[..., Summary]) -> None:
    first = summary([{"took_ms": float(i)} for i in range(1, 101)])
    second = summary([{"took_ms": 500.0}] * 7, rate=20.0)
    path = tmp_path / "latency.hlog"
    path.write_text(log_text([1_900_000_000.0, 1_900_000_020.0], [first, second]))
    reader = HistogramLogReader(str(path), HdrHistogram(LOWEST_NS, HIGHEST_NS, DIGITS))
    found = {}
    while (read := reader.get_next_interval_histogram()) is not None:
        found[read.get_tag()] = read
    reader.close()
    assert set(found) == {
        f"{event}-{rate}-per-s"
        for event in ("answer", "service", "first_beams", "first_provisional")
        for rate in (10, 20)
    }
    answers = found["answer-10-per-s"]
    assert answers.get_total_count() == 100
    for percent in PERCENTS:
        exact = first.latency["answer"].percentile(percent)
        assert answers.get_value_at_percentile(percent) / 1e6 == pytest.approx(exact, rel=0.002)
    assert found["answer-20-per-s"].get_total_count() == 7
    assert found["first_beams-20-per-s"].get_total_count() == 0
    assert found["answer-20-per-s"].get_start_time_stamp() - answers.get_start_time_stamp() == 20_000
