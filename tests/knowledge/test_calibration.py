"""What is learned from drafts that were verified."""

from __future__ import annotations

import numpy as np
import pytest

from sidebeam.knowledge.calibration import CELLS, GLOBAL, Calibration, PoolDraft, prior_weights
from sidebeam.knowledge.deleted import NOTHING
from sidebeam.knowledge.draft import ABOVE, TextDraft
from sidebeam.knowledge.session import Indexes, Session
from sidebeam.knowledge.suffix_tree import build_index, join


def chain(tokens: int, cell: int, share: float = 1.0) -> PoolDraft:
    ints = np.arange(tokens, dtype=np.int32)
    ones = np.full(tokens, share, np.float32)
    return PoolDraft(ints, ints + np.int32(ABOVE), ones, ints.astype(np.uint8), np.full(tokens, cell, np.int32), ones)


def test_weights_come_to_what_was_measured() -> None:
    """First tokens accepted 3 times in 4, each next one 9 times in 10, of ratios of a half and of one."""
    calibration = Calibration()
    rng = np.random.default_rng(0)
    for _ in range(4000):
        accepted = 0 if rng.random() > 0.75 else int(min(rng.geometric(0.1), 8))
        calibration.observe(chain(8, 5), range(accepted))
    weights = calibration.weights
    assert weights[0, 5] == pytest.approx(0.75, abs=0.03)
    assert weights[1, 5] == pytest.approx(0.9, abs=0.02)
    others = np.arange(CELLS) != 5
    np.testing.assert_allclose(weights[:, others], prior_weights()[:, others], rtol=1e-12)


def test_a_share_counts_for_what_it_promised() -> None:
    """Nodes of share 0.5 that are accepted half the time are as good as they said: weight 1."""
    calibration = Calibration(prior_weight=1.0)
    for turn in range(500):
        calibration.observe(chain(1, 9, 0.5), [0] if turn % 2 else [])
    assert calibration.weights[0, 9] == pytest.approx(1.0, abs=0.01)


def test_no_weight_is_over_one_and_the_same_drafts_give_the_same() -> None:
    first, again = Calibration(), Calibration()
    for calibration in (first, again):
        for _ in range(300):
            calibration.observe(chain(4, 7, 0.01), range(4))
    assert first.weights.max() <= 1
    np.testing.assert_array_equal(first.weights, again.weights)


def test_below_a_rejected_node_nothing_is_learned() -> None:
    calibration = Calibration()
    calibration.observe(chain(5, 3), [])
    assert calibration.weights[1, 3] == pytest.approx(prior_weights()[1, 3])
    assert calibration.weights[0, 3] < prior_weights()[0, 3]
    before = calibration.weights
    calibration.observe(PoolDraft.empty(), [])
    np.testing.assert_array_equal(calibration.weights, before)


def test_measured_acceptance_changes_drafts_of_later_sessions_only() -> None:
    index = build_index(join([[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3]]))
    parts = Indexes.of([(index, NOTHING, GLOBAL)])
    calibration = Calibration()
    early = Session([1], parts, calibration.weights)
    draft = early.draft(2, 2)
    assert isinstance(draft, TextDraft)
    for _ in range(100):
        calibration.observe(draft, [])
    np.testing.assert_array_equal(early.draft(2, 2).probs, draft.probs)
    late = Session([1], parts, calibration.weights).draft(2, 2)
    assert late.probs[0] < draft.probs[0] / 2
    assert late.tokens.tolist() == draft.tokens.tolist() == [2, 3]
    assert late.shares.tolist() == [1, 1]
