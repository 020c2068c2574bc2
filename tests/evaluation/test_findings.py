"""Figures from answers that were made up, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sidebeam.catalog import Catalog
from sidebeam.evaluation.arm import Answer
from sidebeam.evaluation.arm_name import GENERATE, NEIGHBOURS, POPULARITY, ArmName
from sidebeam.evaluation.findings import Findings, Judge
from sidebeam.evaluation.study import Track

OFF, MODEL = ArmName("strict", "off"), ArmName("strict", "model")
LOG_PROBS = np.array([-1.0, -2.0], np.float32)
PLAIN = Answer([4, 7], LOG_PROBS, ms=20.0, passes=3, rows=12, depths=(1, 1, 1), drafted=(0, 0), needed=(0, 0))


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """27 items, all SIDs of three codes with three values each: depths of 3, 9 and 27 nodes."""
    codes = np.stack(np.unravel_index(np.arange(27), (3, 3, 3)), axis=1) + 10 * np.arange(3)
    return Catalog.build([str(i) for i in range(27)], codes)


def weigh(catalog: Catalog, answers: dict[ArmName, list[Answer]], k: int = 2, comparable: bool = True) -> Findings:
    """Two users: the first wanted leaf 7, the second leaves 1 and 2."""
    tracks = [Track(name, k, given) for name, given in answers.items()]
    judge = Judge(catalog, comparable, [np.array([7]), np.array([1, 2])], seed=0)
    lists = np.array([[7, 0], [0, 3]])[:, :k]
    return judge.findings(tracks, {POPULARITY: lists, NEIGHBOURS: lists})


def test_what_a_drafted_arm_took(catalog: Catalog) -> None:
    first = replace(PLAIN, ms=10.0, passes=1, rows=20, depths=(3,), drafted=(3, 6), needed=(2, 2))
    second = replace(PLAIN, ms=30.0, passes=2, rows=16, depths=(2, 1), drafted=(3, 0), needed=(2, 0))
    findings = weigh(catalog, {OFF: [PLAIN, replace(PLAIN, ms=60.0)], MODEL: [first, second]})
    cost = findings.cost(MODEL, 2)
    assert cost is not None
    assert cost.ms.value == 20.0
    assert cost.median_ms == 20.0
    assert cost.p90_ms == pytest.approx(28.0)
    assert cost.passes.value == 1.5
    assert cost.rows.value == 18.0
    assert cost.rows_per_pass.value == pytest.approx(36 / 3)
    assert cost.depth_per_pass.value == pytest.approx((3 + 2 + 1) / 3)
    assert cost.accepted_steps.value == pytest.approx((2 + 1) / 2)
    assert cost.over_off is not None
    assert cost.over_off.value == pytest.approx(80 / 40)  # means, not the mean of ratios
    assert cost.over_generate is None
    one, two = cost.by_depth
    assert (one.drafted.value, one.needed.value, one.covered.value, one.whole.value) == (3.0, 2.0, 1.0, 1.0)
    assert (two.drafted.value, two.needed.value, two.covered.value, two.whole.value) == (3.0, 1.0, 0.5, 0.5)
    assert one.useful is not None
    assert two.useful is not None
    assert [one.useful.value, two.useful.value] == pytest.approx([4 / 6, 2 / 6])


def test_a_depth_with_fewer_nodes_than_k_is_whole_with_all_of_them(catalog: Catalog) -> None:
    answer = replace(PLAIN, leaves=[0, 1, 2, 3, 4], log_probs=-np.arange(5, dtype=np.float32), needed=(3, 4))
    findings = weigh(catalog, {OFF: [answer, answer]}, k=5)
    one, two = findings.costs[0].by_depth
    assert one.covered.value == 1.0
    assert two.covered.value == pytest.approx(4 / 5)
    assert (one.whole.value, two.whole.value) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("leaves", "log_probs", "identical", "overlap"),
    [
        ([4, 7], [-1.0, -2.0], 1.0, 1.0),
        ([4, 7], [-1.00005, -2.0], 1.0, 1.0),
        ([4, 7], [-1.001, -2.0], 0.0, 1.0),
        ([7, 4], [-1.0, -2.0], 0.0, 1.0),  # too far apart to change places
        ([4, 8], [-1.0, -2.0], 0.0, 0.5),
    ],
)
def test_what_counts_as_the_same_answer(
    catalog: Catalog, leaves: list[int], log_probs: list[float], identical: float, overlap: float
) -> None:
    other = replace(PLAIN, leaves=leaves, log_probs=np.array(log_probs, np.float32))
    cost = weigh(catalog, {OFF: [PLAIN, PLAIN], MODEL: [other, other]}).cost(MODEL, 2)
    assert cost is not None
    assert cost.identical is not None
    assert cost.overlap is not None
    assert (cost.identical.value, cost.overlap.value) == (identical, overlap)


def test_items_that_close_may_change_places(catalog: Catalog) -> None:
    close = replace(PLAIN, log_probs=np.array([-1.0, -1.00005], np.float32))
    swapped = replace(close, leaves=[7, 4])
    cost = weigh(catalog, {OFF: [close, close], MODEL: [swapped, close]}).cost(MODEL, 2)
    assert cost is not None
    assert cost.identical is not None
    assert cost.identical.value == 1.0


def test_generate_is_compared_with_plain_search_only_where_log_probs_mean_the_same(catalog: Catalog) -> None:
    answers = {OFF: [PLAIN, PLAIN], GENERATE: [replace(PLAIN, ms=40.0, drafted=(), needed=())] * 2}
    told = weigh(catalog, answers).cost(GENERATE, 2)
    untold = weigh(catalog, answers, comparable=False).cost(GENERATE, 2)
    off = weigh(catalog, answers).cost(OFF, 2)
    assert told is not None
    assert told.identical is not None
    assert told.identical.value == 1.0
    assert told.by_depth == ()
    assert untold is not None
    assert untold.identical is None
    assert off is not None
    assert off.over_generate is not None
    assert off.over_generate.value == 2.0
    assert off.identical is None


def test_relaxed_arms_are_compared_with_sampling_without_drafts(catalog: Catalog) -> None:
    drawn, drafted = ArmName("relaxed", "off"), ArmName("relaxed", "model")
    sampled = replace(PLAIN, leaves=[1, 7])
    findings = weigh(catalog, {OFF: [PLAIN, PLAIN], drawn: [sampled, sampled], drafted: [sampled, PLAIN]})
    cost = findings.cost(drafted, 2)
    assert cost is not None
    assert cost.identical is not None
    assert cost.overlap is not None
    assert (cost.identical.value, cost.overlap.value) == (0.5, 0.75)
    quality = findings.quality_of(drafted, 2, 2)
    assert quality is not None
    assert quality.recall.value == pytest.approx((1 + 0) / 2)
    assert quality.recall_over_off is not None
    assert quality.recall_over_off.value == pytest.approx((1 + 0) / (1 + 0.5))


def test_one_wide_run_tells_all_n_and_each_width_its_own(catalog: Catalog) -> None:
    narrow = replace(PLAIN, leaves=[7], log_probs=LOG_PROBS[:1])
    tracks = [Track(OFF, 1, [narrow, narrow]), Track(OFF, 2, [PLAIN, replace(PLAIN, leaves=[9, 1])])]
    judge = Judge(catalog, True, [np.array([7]), np.array([1, 2])], seed=0)
    counted = {POPULARITY: np.array([[7, 0], [0, 3]]), NEIGHBOURS: np.array([[7, 0], [1, 2]])}
    findings = judge.findings(tracks, counted)
    found = {(each.n, each.list_length): each.recall.value for each in findings.quality if each.arm == OFF}
    assert found == {(1, 1): 0.5, (1, 2): 0.0, (2, 2): pytest.approx((1 + 0.5) / 2)}
    (wide,) = (each for each in findings.quality if each.arm == OFF and each.n == 2)
    assert wide.recall_over_popularity is not None
    assert wide.recall_over_popularity.value == pytest.approx(0.75 / 0.5)
    assert wide.recall_over_neighbours is not None
    assert wide.recall_over_neighbours.value == pytest.approx(0.75 / 1.0)
    popular = {(each.n, each.list_length): each.recall.value for each in findings.quality if each.arm == POPULARITY}
    assert popular == {(1, 1): 0.5, (1, 2): 0.5, (2, 2): 0.5}
