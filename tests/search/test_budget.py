"""Drafts ride along only where they pay: the curve, the coverage and the grant."""

from __future__ import annotations

import numpy as np
import pytest

from sidebeam.search import Budget, Coverage, DraftAdvice, Load, PassCurve
from sidebeam.search.budget import (
    ADVICE_HOLDS,
    CHILDREN,
    LEARNING_DRAFTS,
    MOST_HELD,
    NO_DRAFT,
    NOTHING,
    PROBE_EARLY,
    RECALL_ANYWAY,
    Level,
)
from sidebeam.search.coverage import WIDTHS
from sidebeam.search.pass_curve import KNOTS

MEMORY_BOUND = PassCurve([1, 64, 2048], [10e6, 10e6, 300e6])  # rows up to 64 are free
COMPUTE_BOUND = PassCurve([1, 2048], [0.2e6, 409.6e6])  # every row costs the same


def learned(k: int, needed: list[list[int]]) -> Coverage:
    """Coverage after one draft of 128 per entry, whose level j needed the `needed[i][j]` best nodes."""
    coverage = Coverage()
    for ranks in needed:
        for level, rank in enumerate(ranks, start=1):
            coverage.observe(k, 0, level, np.arange(128), np.arange(rank))
    return coverage


def ranked(n: int, fan_out: float = 0.0, all_below: int | None = None) -> Level:
    return Level(n, np.ceil(np.arange(n + 1) * fan_out).astype(np.int64), all_below)


def test_free_rows_are_used_and_costly_ones_are_not() -> None:
    coverage = learned(1, [[4, 8, 8]] * 50)
    levels = [ranked(40), ranked(40), ranked(40)]
    assert Budget(MEMORY_BOUND, coverage).grant(1, 0, 20, levels, Load()).widths[0] >= 4
    assert Budget(COMPUTE_BOUND, coverage).grant(1, 0, 20, levels, Load()) == NOTHING


def test_nothing_is_granted_to_drafts_that_never_cover() -> None:
    coverage = learned(20, [[500, 500, 500]] * 50)
    assert Budget(MEMORY_BOUND, coverage).grant(20, 0, 20, [ranked(40)] * 3, Load()) == NOTHING


def test_all_children_of_a_covered_level_come_along_when_they_are_few() -> None:
    coverage = learned(1, [[4, 128, 128]] * 50)
    levels = [ranked(40, fan_out=2.0), ranked(40, fan_out=1.0), ranked(40)]
    grant = Budget(MEMORY_BOUND, coverage).grant(1, 0, 20, levels, Load())
    assert grant.widths == (4, CHILDREN, 0)
    whole = Budget(MEMORY_BOUND, Coverage()).grant(10, 2, 10, [ranked(0, all_below=17)], Load())
    assert whole.widths == (CHILDREN,)


def test_recalls_are_weighed_anew_every_few_requests_and_the_memory_of_it_is_bounded() -> None:
    budget = Budget(MEMORY_BOUND, Coverage())
    asked: list[int] = []

    def levels(children: int) -> list[Level]:
        asked.append(children)
        return [ranked(0, all_below=children)]

    for _ in range(3):
        assert budget.grant_recall(10, 2, 10, 17, lambda: levels(17), Load()).widths == (CHILDREN,)
    assert asked == [17]
    for _ in range(ADVICE_HOLDS):
        budget.advise(10, 20, lambda: ([ranked(40)], []), Load(), DraftAdvice(40, 1))
    assert budget.grant_recall(10, 2, 10, 17, lambda: levels(17), Load()).widths == (CHILDREN,)
    assert asked == [17, 17]
    for k in range(3 * MOST_HELD):
        budget.grant_recall(k, 2, 10, 17, lambda: levels(17), Load())
    assert len(budget._recalls) <= MOST_HELD + 1


def test_load_shrinks_the_grant_to_nothing() -> None:
    coverage = learned(1, [[4, 8, 8]] * 50)
    budget = Budget(MEMORY_BOUND, coverage)
    levels = [ranked(40), ranked(40), ranked(40)]
    gains = [budget.grant(1, 0, 20, levels, Load(rows, n)).gain for rows, n in ((0, 1), (60, 3), (400, 16), (1500, 64))]
    assert gains[0] > gains[1] > gains[2] > gains[3] == 0


def test_coverage_counts_a_draft_only_where_it_can_tell() -> None:
    coverage = Coverage()
    coverage.observe(9, 0, 1, np.arange(4), np.array([7]), exhausted=True)  # no width would have brought 7
    assert coverage.chances(9, 0, 1).max() == 0
    for _ in range(200):
        coverage.observe(5, 0, 1, np.arange(8), np.array([2, 9]))  # a draft of 8 that missed node 9
    chances = coverage.chances(5, 0, 1)
    assert chances[WIDTHS <= 8].max() == 0
    for _ in range(200):
        coverage.observe(5, 0, 2, np.arange(64), np.array([2, 9]))  # needs the 10 best
    chances = coverage.chances(5, 0, 2)
    assert chances[WIDTHS < 10].max() == 0
    assert chances[WIDTHS >= 16].min() > 0.9


def test_coverage_follows_a_drafter_that_gets_worse() -> None:
    coverage = learned(1, [[1]] * 300 + [[99]] * 300)
    chances = coverage.chances(1, 0, 1)
    assert chances[WIDTHS <= 64].max() < 0.1


def test_the_model_is_asked_once_it_has_shown_that_it_pays() -> None:
    most = DraftAdvice(40, 3)
    levels = [ranked(40), ranked(40), ranked(40)]
    new = Budget(MEMORY_BOUND, Coverage())
    advice = [new.advise(1, 20, lambda: (levels, []), Load(), most) for _ in range(2 * PROBE_EARLY)]
    assert advice.count(most) == 2
    assert set(advice) == {most, NO_DRAFT}  # only probes until it is known

    trusted = Budget(MEMORY_BOUND, learned(1, [[4, 8, 8]] * (LEARNING_DRAFTS * 3)))
    trusted.observe_draft(3, 1_000_000)
    asked = trusted.advise(1, 20, lambda: (levels, []), Load(), most)
    assert asked.length >= 1
    assert 4 <= asked.beams <= 40
    for _ in range(500):
        trusted.observe_draft(3, 10**12)
    later = [trusted.advise(1, 20, lambda: (levels, []), Load(), most) for _ in range(60)]
    assert later[-10:].count(NO_DRAFT) >= 9  # a draft that takes longer than it saves


def test_what_memory_has_is_preferred_to_a_model_that_costs_more() -> None:
    most = DraftAdvice(40, 3)
    levels = [ranked(40)] * 3
    budget = Budget(MEMORY_BOUND, learned(1, [[4, 500, 500]] * (LEARNING_DRAFTS * 3)))
    budget.observe_draft(3, 3_000_000)
    assert budget.recalls_all(1)
    for _ in range(50):
        budget.memory_coverage.observe(1, 0, 1, np.arange(8), np.array([3]), exhausted=True)
    recalled = [ranked(8), ranked(0), ranked(0)]
    assert budget.grant_recall(1, 0, 20, 91, lambda: recalled, Load()).widths[0] == 4
    assert budget.advise(1, 20, lambda: (levels, recalled), Load(), most) == NO_DRAFT
    for _ in range(500):  # people change: what was said before is worth nothing
        budget.memory_coverage.observe(1, 0, 1, np.arange(8), np.array([100]), exhausted=True)
    later = [budget.advise(1, 20, lambda: (levels, recalled), Load(), most) for _ in range(2 * ADVICE_HOLDS)]
    assert budget.grant_recall(1, 0, 20, 91, lambda: recalled, Load()) == NOTHING
    assert later[-1].beams >= 4
    looks = []
    for _ in range(64):
        looks.append(budget.recalls_all(1))
        budget.advise(1, 20, lambda: (levels, recalled), Load(), most)
    assert looks.count(True) == 64 // RECALL_ANYWAY  # a look now and then


def test_the_curve_interpolates_and_never_falls() -> None:
    curve = PassCurve([1, 8, 64], [5e6, 50e6, 20e6])  # the middle one was held up
    times = curve(np.array(KNOTS))
    assert np.all(np.diff(times) >= 0)
    assert times[KNOTS.index(8)] == pytest.approx(20e6)
    assert float(curve(0)) == 0


def test_the_curve_follows_a_machine_that_slows_down_but_no_single_pass() -> None:
    curve = PassCurve([1, 2048], [1e6, 100e6])
    before = float(curve(32))
    curve.observe(32, int(before * 100))
    assert float(curve(32)) < 1.1 * before
    for _ in range(400):
        curve.observe(32, int(before * 2))
    assert float(curve(32)) == pytest.approx(2 * before, rel=0.2)


def test_the_curve_judges_sizes_not_seen_by_those_that_are() -> None:
    """What slows passes of 64 rows slows the others; yet sizes that are seen are what they are, whatever others do."""
    curve = PassCurve([1, 2048], [1e6, 2048e6])
    for _ in range(300):
        curve.observe(64, int(64e6 * 1.5))
    assert curve(64) == pytest.approx(64e6 * 1.5, rel=0.01)
    assert 1.5 > curve(96) / 96e6 > curve(192) / 192e6 > curve(1024) / 1024e6 > 1.1
    for _ in range(300):
        curve.observe(64, int(64e6 * 1.5))
        curve.observe(128, 128_000_000)
    assert curve(64) == pytest.approx(64e6 * 1.5, rel=0.03)
    assert curve(128) == pytest.approx(128e6, rel=0.03)


def test_the_curve_is_measured_over_the_rows_that_fit() -> None:
    ran: list[int] = []
    clock = iter(range(0, 10**9, 1000))
    curve = PassCurve.measure(ran.append, lambda: next(clock), 100, repeats=2)
    assert max(ran) == 96
    assert [rows for rows, _ in curve.points()] == list(KNOTS)


def test_a_level_that_a_later_pass_gets_for_nothing_is_worth_nothing() -> None:
    coverage = learned(1, [[4, 8, 8]] * 50)
    levels = [ranked(40), ranked(40), ranked(40)]
    budget = Budget(MEMORY_BOUND, coverage)
    assert budget.grant(1, 0, 20, levels, Load()).widths[1] > 0
    for _ in range(200):
        budget.observe_passes(1, [0, 1, 2])  # nodes of depth 3 always come along with those of depth 2
        budget.observe_passes(1, [0, 3])
    assert budget.grant(1, 0, 60, levels[:2], Load()).widths[1:] == (0,)
