"""Verification by the book: every path, one token at a time, no tensors."""

from __future__ import annotations

import math

import numpy as np

from sidebeam.knowledge.draft import ABOVE
from sidebeam.texts import Relaxed, TokenTree, Vocabulary


def chi_square_limit(cells: int) -> float:
    """What a chi-square of so many cells passes once in about 30,000 tries (Wilson and Hilferty)."""
    return float(cells * (1 - 2 / (9 * cells) + 4 * np.sqrt(2 / (9 * cells))) ** 3)


def assert_drawn_from(counts: np.ndarray, probs: np.ndarray) -> None:
    """Chi-square of `counts` against `probs`; rare cells are thrown together."""
    expected = probs * counts.sum()
    rare = expected < 5
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], max(float(expected[rare].sum()), 1e-9))
    if expected[-1] < 5:  # too rare together: one draw more or less says nothing
        assert counts[-1] <= expected[-1] + 6 * math.sqrt(expected[-1] + 1)
        counts, expected = counts[:-1], expected[:-1]
    assert ((counts - expected) ** 2 / expected).sum() < chi_square_limit(max(1, len(counts) - 1))


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits.astype(np.float64) - logits.max())
    return np.asarray(weights / weights.sum())


def path_to(tree: TokenTree, node: int) -> list[int]:
    path = []
    while node != ABOVE:
        path.append(node)
        node = int(tree.parents[node])
    return path[::-1]


def accepts(logits: np.ndarray, token: int, rule: Relaxed, spent: float, vocabulary: Vocabulary) -> float | None:
    """What accepting `token` adds to the divergence, None if it is not accepted. `logits` [vocab] are its parent's."""
    winner = int(np.flatnonzero(logits == logits.max())[0])
    if token == winner:
        return 0.0
    q = softmax(logits)
    rank = 1 + int((logits > logits[token]).sum())
    loss = math.log(q[winner] / q[token])
    if (
        rule.k == 1
        or rank > rule.k
        or q[token] <= rule.p
        or winner in vocabulary.ends
        or q[list(vocabulary.ends)].sum() > rule.p
        or (rule.keep_protected and (vocabulary.protected[token] or vocabulary.protected[winner]))
        or spent + loss > rule.max_divergence
    ):
        return None
    return loss


def best_path(tree: TokenTree, logits: np.ndarray, rule: Relaxed, spent: float, vocabulary: Vocabulary) -> list[int]:
    """The accepted path of a tree whose rows have `logits` [1 + n, vocab]."""
    best: list[int] = []
    best_log_prob = 0.0
    for node in range(len(tree)):
        path = path_to(tree, node)
        divergence, log_prob = spent, 0.0
        for i, step in enumerate(path):
            row = logits[tree.parents[step] + 1]
            token = int(tree.tokens[step])
            loss = accepts(row, token, rule, divergence, vocabulary)
            if loss is None or (i and int(tree.tokens[path[i - 1]]) in vocabulary.ends):
                break
            divergence += loss
            log_prob += math.log(softmax(row)[token])
        else:
            if (len(path), log_prob) > (len(best), best_log_prob) or not best:
                best, best_log_prob = path, log_prob
    return best
