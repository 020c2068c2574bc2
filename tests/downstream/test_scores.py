"""AUC against brute force and scikit-learn, log loss against its definition, intervals against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from sidebeam.downstream.scores import NORMAL, T_QUANTILES, auc, log_loss, mean_over_seeds


@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=40))
def test_auc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[bool, int]]) -> None:
    labels, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], np.float64)
    if labels.all() or not labels.any():
        with pytest.raises(ValueError, match="an AUC needs clicks and non-clicks"):
            auc(labels, scores)
        return
    above = scores[labels][:, None] - scores[~labels]
    brute = np.mean((above > 0) + 0.5 * (above == 0))
    assert auc(labels, scores) == pytest.approx(brute)
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))


def test_log_loss_is_that_of_the_probabilities_and_stays_finite() -> None:
    random = np.random.default_rng(0)
    labels, logits = random.random(500) < 0.3, random.normal(size=500) * 3
    assert log_loss(labels, logits) == pytest.approx(sklearn_log_loss(labels, 1 / (1 + np.exp(-logits))))
    assert log_loss(np.array([True, False]), np.array([-1000.0, 1000.0])) == 1000


def test_intervals_are_students() -> None:
    for degrees, quantile in enumerate(T_QUANTILES, start=1):
        assert quantile == pytest.approx(stats.t.ppf(0.975, degrees), abs=1e-3)
    assert pytest.approx(stats.norm.ppf(0.975), abs=1e-3) == NORMAL
    values = [0.71, 0.74, 0.70, 0.73, 0.72]
    found = mean_over_seeds(values)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (found.value, found.low, found.high) == pytest.approx((np.mean(values), low, high), abs=1e-4)
    assert mean_over_seeds([0.5]).low == -math.inf
