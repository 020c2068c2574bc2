"""The verdict on one pass: LASER's golden vector, brute force on random trees, every rule on its own."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sidebeam.knowledge.draft import TextDraft
from sidebeam.texts import Exact, Relaxed, Sampled, TokenTree, Trial, Verdict, Verification, Verifier, Vocabulary

from .drafters import random_draft, text_draft
from .oracle import best_path, softmax

GOLDEN_SIZE = 20
GOLDEN = text_draft([(7, -1), (12, 0), (13, 1), (8, 0), (9, 3), (10, 0)], [1.0, 0.9, 0.8, 0.5, 0.4, 0.3])
GOLDEN_ODDS = {0: {7: 0.9}, 1: {10: 0.6, 8: 0.25, 12: 0.05}, 4: {9: 0.8}, 5: {14: 0.7}, 6: {15: 0.7}}


def log_probs(size: int, odds: dict[int, float]) -> torch.Tensor:
    """Logits with these probabilities; all other tokens share the rest."""
    rest = (1 - sum(odds.values())) / (size - len(odds))
    return torch.tensor([odds.get(token, rest) for token in range(size)]).log()


def golden_logits() -> torch.Tensor:
    return torch.stack([log_probs(GOLDEN_SIZE, GOLDEN_ODDS.get(row, {})) for row in range(1 + len(GOLDEN))])


def judged(
    draft: TextDraft,
    logits: torch.Tensor,
    verification: Verification,
    vocabulary: Vocabulary | None = None,
    divergence: float = 0.0,
) -> Verdict:
    vocabulary = vocabulary or Vocabulary.plain(logits.shape[1])
    (verdict,) = Verifier(vocabulary)(logits, [Trial(TokenTree.of(draft), verification, 5, divergence)])
    return verdict


def test_golden_vector() -> None:
    tree = TokenTree.of(GOLDEN)
    assert tree.tokens.tolist() == [7, 12, 13, 8, 9, 10]
    assert tree.depths.tolist() == [1, 2, 3, 2, 3, 2]
    ancestors = [set(np.flatnonzero(row) + 1) for row in tree.ancestors()]
    assert ancestors == [{1}, {1, 2}, {1, 2, 3}, {1, 4}, {1, 4, 5}, {1, 6}]
    greedy = judged(GOLDEN, golden_logits(), Exact())
    assert greedy.tokens.tolist() == [7, 10, 15]
    assert (greedy.accepted + 1).tolist() == [1, 6]
    relaxed = judged(GOLDEN, golden_logits(), Relaxed(2, 0.1))
    assert relaxed.tokens.tolist() == [7, 8, 9, 14]
    assert (relaxed.accepted + 1).tolist() == [1, 4, 5]
    (token,) = relaxed.relaxed
    assert (token.position, token.token, token.argmax, token.rank) == (6, 8, 10, 2)
    assert (token.q, token.q_max) == (pytest.approx(0.25), pytest.approx(0.6))
    assert token.divergence == pytest.approx(math.log(0.6 / 0.25))


def test_relaxed_at_k_1_and_p_0_is_exact() -> None:
    assert judged(GOLDEN, golden_logits(), Relaxed(1, 0.0)).tokens.tolist() == [7, 10, 15]


def test_the_floor_and_the_rank_both_decide() -> None:
    def tokens(k: int, p: float) -> list[int]:
        return judged(GOLDEN, golden_logits(), Relaxed(k, p)).tokens.tolist()

    assert tokens(2, 0.24) == [7, 8, 9, 14]
    assert tokens(2, 0.26) == [7, 10, 15]
    assert tokens(3, 0.04)[:3] == [7, 8, 9]  # 7 12 is accepted, too, but no longer, and less likely


def test_a_probability_of_exactly_the_floor_is_not_enough() -> None:
    logits = torch.tensor([[1.0, 1.0, -torch.inf, -torch.inf]]).repeat(2, 1)
    draft = text_draft([(1, -1)])
    assert judged(draft, logits, Relaxed(2, 0.5)).tokens.tolist() == [0]
    assert judged(draft, logits, Relaxed(2, 0.49)).tokens.tolist() == [1, 0]


def test_equal_logits_share_a_rank_and_the_lowest_id_wins() -> None:
    logits = torch.tensor([[0.0, 2.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    draft = text_draft([(3, -1)])
    assert judged(draft, logits, Exact()).tokens.tolist() == [1]
    verdict = judged(draft, logits, Relaxed(2, 0.1))
    assert verdict.tokens.tolist() == [3, 0]
    assert (verdict.relaxed[0].rank, verdict.relaxed[0].divergence) == (1, 0.0)
    assert judged(draft, logits, Relaxed(1, 0.1)).tokens.tolist() == [1]


def test_equally_long_paths_are_weighed_by_joint_probability_then_by_preorder() -> None:
    draft = text_draft([(1, -1), (2, -1), (3, 0), (4, 1)])
    first = log_probs(9, {1: 0.45, 2: 0.4})
    likelier = torch.stack([first, log_probs(9, {3: 0.5, 5: 0.4}), first, log_probs(9, {4: 0.9}), first])
    assert TokenTree.of(draft).tokens.tolist() == [1, 3, 2, 4]
    assert judged(draft, likelier, Relaxed()).tokens.tolist()[:2] == [2, 4]  # 0.4 * 0.9 over 0.45 * 0.5
    even = log_probs(9, {1: 0.4, 2: 0.4})
    same = torch.stack([even, log_probs(9, {3: 0.9}), even, log_probs(9, {4: 0.9}), even])
    assert judged(draft, same, Relaxed()).tokens.tolist()[:2] == [1, 3]


def test_an_end_is_never_bypassed() -> None:
    end = Vocabulary.plain(9, [8])
    draft = text_draft([(1, -1), (8, -1), (2, 1)])
    after = log_probs(9, {2: 0.9})

    def tokens(odds: dict[int, float], vocabulary: Vocabulary = end) -> list[int]:
        rows = torch.stack([log_probs(9, odds), after, after, after])
        return judged(draft, rows, Relaxed(), vocabulary).tokens.tolist()

    assert tokens({8: 0.5, 1: 0.4}) == [8]  # nothing after the end, no extra token
    assert tokens({3: 0.4, 1: 0.35, 8: 0.05}) == [1, 2]
    assert tokens({3: 0.4, 1: 0.35, 8: 0.12}) == [3]  # the end is not the likeliest, yet likely
    assert tokens({3: 0.4, 8: 0.35}) == [3]  # neither is an end itself relaxed
    two = Vocabulary.plain(9, [7, 8])
    assert tokens({3: 0.4, 1: 0.35, 8: 0.07, 7: 0.07}, two) == [3]  # ends count together


def test_protected_tokens_are_kept_when_asked() -> None:
    draft = text_draft([(1, -1)])
    rows = torch.stack([log_probs(9, {3: 0.5, 1: 0.4}), log_probs(9, {2: 0.9})])
    for protected in (1, 3):
        vocabulary = Vocabulary.plain(9)
        vocabulary.protected[protected] = True
        assert judged(draft, rows, Relaxed(), vocabulary).tokens.tolist() == [1, 2]
        assert judged(draft, rows, Relaxed(keep_protected=True), vocabulary).tokens.tolist() == [3]


def test_divergence_is_capped_over_the_text() -> None:
    draft = text_draft([(1, -1), (1, 0), (1, 1)])
    rows = log_probs(9, {3: 0.6, 1: 0.3}).repeat(4, 1)
    for spent, relaxed in ((0.0, 3), (0.1, 2), (0.8, 1), (1.5, 0)):
        verdict = judged(draft, rows, Relaxed(max_divergence=3.05 * math.log(2)), divergence=spent)
        assert len(verdict.accepted) == relaxed
        assert spent + sum(token.divergence for token in verdict.relaxed) <= 3.05 * math.log(2)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.sampled_from([0.0, 0.05, 0.1, 0.3]))
def test_any_mixture_equals_brute_force(seed: int, k: int, p: float) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(4, 9))
    ends = rng.choice(size, rng.integers(0, 3), replace=False).tolist()
    vocabulary = Vocabulary(size, tuple(ends), rng.random(size) < 0.2)
    relaxed = Relaxed(k, p, bool(rng.integers(2)), float(rng.choice([0.3, 1.0, math.inf])))
    trials, logits = [], []
    for _ in range(rng.integers(1, 5)):
        tree = TokenTree.of(random_draft(rng, size, int(rng.integers(0, 12))))
        verification = [Exact(), relaxed, replace(relaxed, k=2), Sampled(0.7, 2, 3)][rng.integers(4)]
        trials.append(Trial(tree, verification, int(rng.integers(9)), float(rng.choice([0.0, 0.25]))))
        rows = rng.normal(0, 1.5, (1 + len(tree), size)).astype(np.float32)
        rows[rng.random(rows.shape) < 0.2] = 1.0  # equal logits
        logits.append(rows)
    verdicts = Verifier(vocabulary)(torch.from_numpy(np.concatenate(logits)), trials)
    for trial, rows, verdict in zip(trials, logits, verdicts, strict=True):
        rule = trial.verification
        if isinstance(rule, Sampled):
            continue  # see test_sampled.py
        strict = Relaxed(1, 0.0) if isinstance(rule, Exact) else rule
        path = best_path(trial.tree, rows, strict, trial.divergence, vocabulary)
        assert verdict.accepted.tolist() == path
        assert_sound(trial, rows, verdict, vocabulary)


def assert_sound(trial: Trial, rows: np.ndarray, verdict: Verdict, vocabulary: Vocabulary) -> None:
    """Every token is the most likely one or told of; nothing follows an end; there is one more than was accepted."""
    path, tokens = verdict.accepted.tolist(), verdict.tokens.tolist()
    assert tokens[: len(path)] == trial.tree.tokens[path].tolist()
    assert verdict.ended == (tokens[-1] in vocabulary.ends)
    assert not set(tokens[:-1]) & set(vocabulary.ends)
    assert len(tokens) == len(path) + (not path or tokens[len(path) - 1] not in vocabulary.ends)
    told = {token.position: token for token in verdict.relaxed}
    for i, token in enumerate(tokens):
        logits = rows[path[i - 1] + 1 if i else 0]
        winner = int(np.flatnonzero(logits == logits.max())[0])
        audited = told.pop(trial.position + i, None)
        if token == winner:
            assert audited is None
            continue
        assert audited is not None
        assert isinstance(trial.verification, Relaxed)
        q = softmax(logits)
        assert (audited.token, audited.argmax) == (token, winner)
        assert audited.rank == 1 + (logits > logits[token]).sum() <= trial.verification.k
        assert audited.q == pytest.approx(q[token], rel=1e-5)
        assert audited.q > trial.verification.p
        assert audited.q_max == pytest.approx(q[winner], rel=1e-5)
    assert not told
