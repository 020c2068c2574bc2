"""Bootstrap intervals: they hold the truth about as often as they say, and know what belongs together."""

from __future__ import annotations

import numpy as np
import pytest

from sidebeam.evaluation.interval import Bootstrap, Estimate

TRIALS = 300


def test_intervals_of_a_mean_hold_it_in_about_95_of_100_samples() -> None:
    random = np.random.default_rng(1)
    held = 0
    for trial in range(TRIALS):
        estimate = Bootstrap(80, trial).mean(random.exponential(2.0, 80))
        held += estimate.low <= 2.0 <= estimate.high
    assert 0.89 <= held / TRIALS <= 0.98  # a percentile interval of a skewed mean is a little narrow


def test_intervals_of_a_ratio_hold_it_as_often() -> None:
    random = np.random.default_rng(2)
    held = 0
    for trial in range(TRIALS):
        below = random.uniform(1, 3, 80)
        estimate = Bootstrap(80, trial).ratio(1.5 * below * random.uniform(0.8, 1.2, 80), below)
        assert estimate is not None
        held += estimate.low <= 1.5 <= estimate.high
    assert 0.89 <= held / TRIALS <= 0.99


def test_the_width_is_that_of_a_normal_mean() -> None:
    values = np.random.default_rng(3).normal(5.0, 1.0, 1000)
    estimate = Bootstrap(1000, 0).mean(values)
    wanted = 2 * 1.96 * values.std() / np.sqrt(1000)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.high - estimate.low == pytest.approx(wanted, rel=0.15)


def test_a_ratio_keeps_what_two_arms_have_in_common() -> None:
    """Times differ a lot between users and the ratio hardly; resampling both apart would hide that."""
    random = np.random.default_rng(4)
    slow = random.exponential(50.0, 60) + 1
    estimate = Bootstrap(60, 0).ratio(slow, slow / 2)
    assert estimate is not None
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((2.0, 2.0, 2.0))
    apart = Bootstrap(60, 0).mean(slow)
    assert (apart.high - apart.low) / apart.value > 0.2


def test_one_seed_draws_the_same_users() -> None:
    values = np.random.default_rng(5).normal(size=40)
    assert Bootstrap(40, 7).mean(values) == Bootstrap(40, 7).mean(values)
    assert Bootstrap(40, 7).mean(values) != Bootstrap(40, 8).mean(values)


def test_a_ratio_over_nothing_is_none_and_rare_users_do_not_spoil_it() -> None:
    bootstrap = Bootstrap(5, 0)
    assert bootstrap.ratio(np.ones(5), np.zeros(5)) is None
    rare = np.array([0.0, 0.0, 0.0, 0.0, 4.0])  # a third of the resamples lack the only user who counts
    estimate = bootstrap.ratio(rare / 2, rare)
    assert estimate == Estimate(0.5, 0.5, 0.5)


def test_counts_and_truths_are_values_too() -> None:
    assert Bootstrap(4, 0).mean(np.array([True, True, False, False])).value == 0.5
    assert Bootstrap(4, 0).mean(np.array([1, 2, 3, 4])).value == 2.5


def test_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 user; given 0"):
        Bootstrap(0, 0)
