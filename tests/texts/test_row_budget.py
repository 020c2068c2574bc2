"""The budget against brute force, and what it learns."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidebeam.knowledge.draft import TextDraft
from sidebeam.search.pass_curve import PassCurve
from sidebeam.texts.acceptance import Acceptance
from sidebeam.texts.draft_habit import LONGEST_PAUSE, DraftHabit
from sidebeam.texts.pace import Pace
from sidebeam.texts.row_budget import grant

from .drafters import text_draft

FLAT = Pace(PassCurve([1, 64, 128], [1e7, 1e7, 2e7]))
STEEP = Pace(PassCurve([1, 2048], [1e6, 2048e6]))


def test_rows_that_cost_nothing_are_all_taken() -> None:
    granted = grant(FLAT, 1, 1, [np.array([0.9, 0.5, 0.1])], 64)
    assert granted.kept[0].tolist() == [True, True, True]
    assert granted.gains[0] == pytest.approx(1.5e7)


def test_rows_at_full_price_are_never_taken() -> None:
    """A pass that is bound by arithmetic: a drafted row takes as long as a token does."""
    assert not grant(STEEP, 4, 4, [np.full(8, 0.99)] * 4, 64).kept[0].any()


def test_a_long_prompt_in_the_pass_makes_no_row_cheaper() -> None:
    pace = Pace(PassCurve([1, 16, 2048], [1e7, 1e7, 10e7]))
    probs = [np.array([0.9, 0.003])]
    assert grant(pace, 1, 1, probs, 64).kept[0].tolist() == [True, True]
    assert grant(pace, 400, 1, probs, 64).kept[0].tolist() == [True, False]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.floats(0.01, 1), max_size=4), min_size=1, max_size=3),
    st.integers(0, 12),
    st.integers(0, 2**32 - 1),
)
def test_no_other_choice_brings_more_tokens_per_time(drafts: list[list[float]], most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.random(6)) + 1
    pace = Pace(PassCurve([1, 2, 4, 8, 16, 32], times * 1e6), float(rng.random()) * 1e6)
    estimates = [np.array(sorted(probs, reverse=True)) for probs in drafts]  # chains
    texts = len(drafts)
    granted = grant(pace, texts, texts, estimates, most)
    assert all(np.all(np.diff(kept.astype(int)) <= 0) for kept in granted.kept)  # no child without its parent

    def rate(widths: tuple[int, ...]) -> float:
        tokens = texts + sum(float(own[:n].sum()) for own, n in zip(estimates, widths, strict=True))
        return tokens / float(pace(texts, texts + sum(widths)))

    choices = [w for w in itertools.product(*(range(len(own) + 1) for own in estimates)) if sum(w) <= most]
    best = max(rate(widths) for widths in choices)
    ours = rate(tuple(int(kept.sum()) for kept in granted.kept))
    plain = rate((0,) * texts)
    assert ours == pytest.approx(best, rel=1e-9) or (ours == plain and best <= plain * 1.03)


def test_what_a_tier_claims_is_weighed_by_what_it_brought() -> None:
    acceptance = Acceptance()
    probs, tiers = np.array([0.9, 0.9], np.float32), np.array([0, 1], np.uint8)
    assert acceptance.estimate(probs, tiers).tolist() == pytest.approx([0.9, 0.9])
    for _ in range(50):
        acceptance.observe(probs, tiers, np.array([True, False]))
    true, false = acceptance.estimate(probs, tiers)
    assert true > 0.9
    assert false < 0.12
    for _ in range(2000):  # long ago
        acceptance.observe(probs[:0], tiers[:0], np.zeros(0, np.bool_))
    assert acceptance.estimate(probs, tiers).tolist() == pytest.approx([0.9, 0.9], rel=1e-2)
    assert acceptance.estimate(np.array([0.0, 1e-9, 1.0], np.float32), np.zeros(3, np.uint8)).max() <= 1


class Slow:
    """Works for a while to say little."""

    def __init__(self) -> None:
        self.asked = 0

    def open(self, prompt: np.ndarray) -> Slow:
        return self

    def draft(self, budget_rows: int, max_depth: int) -> TextDraft:
        self.asked += 1
        np.linalg.svd(np.ones((60, 60)))
        return text_draft([(3, -1)])

    def extend(self, tokens: np.ndarray) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_drafter_that_costs_more_than_it_brings_is_seldom_asked() -> None:
    def asked(gain: float) -> int:
        slow = Slow()
        habit = DraftHabit()
        habit.open(slow, np.array([1]))
        for _ in range(10 * LONGEST_PAUSE):
            habit.draft(9, 4, 4)
            habit.judge(0, gain, 1.0)
        return slow.asked

    assert asked(1e12) == 10 * LONGEST_PAUSE
    assert asked(0.0) <= 20


def test_a_drafter_is_asked_again_when_it_has_come_to_pay() -> None:
    slow = Slow()
    habit = DraftHabit()
    habit.open(slow, np.array([1]))
    for gain in [0.0] * 200 + [1e12] * 200:
        habit.draft(9, 4, 4)
        habit.judge(0, gain, 1.0)
    assert slow.asked > 200 - LONGEST_PAUSE


def test_now_and_then_rows_are_drafted_to_learn_what_they_cost() -> None:
    estimates = [np.array([0.9, 0.5]), np.array([0.1])]
    assert [kept.tolist() for kept in grant(STEEP, 2, 2, estimates, 8, least=2).kept] == [[True, True], [False]]
    assert sum(kept.sum() for kept in grant(STEEP, 2, 2, estimates, 1, least=2).kept) == 1
    assert sum(kept.sum() for kept in grant(STEEP, 2, 2, estimates, 8, least=9).kept) == 3


def test_pace_is_a_curve_and_some_time_for_every_text() -> None:
    def run(texts: int, rows: int) -> None:
        clock[0] += texts * 1000 + rows

    clock = [0]
    pace = Pace.measure(run, lambda: clock[0], 5, 64)
    for texts, rows in ((1, 16), (4, 16), (16, 64)):
        assert float(pace(texts, rows)) == texts * 1000 + rows
    assert float(Pace.measure(run, lambda: clock[0], 1, 64)(1, 8)) == 1008
    assert float(pace(1, 0)) == 0


def test_a_change_of_pace_is_believed_of_all_rows() -> None:
    pace = Pace(PassCurve([1, 256], [1e6, 256e6]))
    for _ in range(100):
        pace.observe(1, 16, 8_000_000)  # twice as fast as it was
    assert float(pace(1, 16)) == pytest.approx(8e6, rel=0.02)
    assert float(pace(1, 128)) == pytest.approx(64e6, rel=0.3)
    for _ in range(300):  # but not of all alike for ever
        pace.observe(1, 16, 8_000_000)
        pace.observe(1, 128, 128_000_000)
    assert float(pace(1, 16)) == pytest.approx(8e6, rel=0.1)
    assert float(pace(1, 128)) == pytest.approx(128e6, rel=0.1)


def test_rows_that_are_never_granted_are_not_asked_for() -> None:
    habit = DraftHabit()
    habit.open(Slow(), np.array([1]))
    asked = []
    for granted in [9, 20, 40, 40, 3, 0, 0, 0, 0, 0]:
        habit.draft(9, 64, 4)
        habit.judge(granted, 1e12, 1.0)
        asked.append(habit.rows)
    assert asked == [32, 64, 128, 128, 64, 32, 16, 8, 4, 4]
