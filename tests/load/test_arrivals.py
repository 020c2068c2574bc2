"""Arrivals: as many as asked, at the times they should be, the same for the same seed."""

from __future__ import annotations

import itertools
import math
from random import Random

import pytest

from sidebeam.load.arrivals import arrivals


def test_constant_arrivals_are_equally_far_apart_and_do_not_drift() -> None:
    times = list(arrivals("constant", 30.0, 1000.0, Random(0)))
    assert len(times) == 30_000
    assert times == [i / 30.0 for i in range(30_000)]


@pytest.mark.parametrize("rate", [0.5, 20.0, 400.0])
def test_poisson_arrivals_have_exponential_gaps_of_the_right_mean(rate: float) -> None:
    count = 40_000
    times = list(arrivals("poisson", rate, count / rate, Random(7)))
    assert abs(len(times) - count) < 4 * math.sqrt(count)  # a Poisson count's standard deviation is its root
    gaps = [after - before for before, after in itertools.pairwise([0.0, *times])]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(1 / rate, rel=0.03)
    deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert deviation == pytest.approx(mean, rel=0.05)  # an exponential's equals its mean
    ordered = sorted(gap * rate for gap in gaps)
    distance = max(abs((i + 1) / len(ordered) - (1 - math.exp(-gap))) for i, gap in enumerate(ordered))
    assert distance < 1.95 / math.sqrt(len(ordered))  # Kolmogorov-Smirnov, one in a thousand


def test_counts_of_equal_stretches_scatter_as_poisson_counts_do() -> None:
    times = list(arrivals("poisson", 50.0, 2000.0, Random(1)))
    counts = [0] * 2000
    for at in times:
        counts[int(at)] += 1
    mean = sum(counts) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts) / len(counts)
    assert variance / mean == pytest.approx(1.0, abs=0.13)  # four standard errors


@pytest.mark.parametrize("kind", ["poisson", "constant"])
def test_a_seed_says_all(kind: str) -> None:
    first, again, other = (list(arrivals(kind, 20.0, 50.0, Random(seed))) for seed in ("1 0", "1 0", "2 0"))
    assert first == again
    assert (first == other) == (kind == "constant")
    assert first == sorted(first)
    assert 0 <= first[0] <= first[-1] < 50.0
