"""The bench measures what it says, on little; times are not judged."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np

from sidebeam.knowledge.bench_texts import EOS, TextSource
from sidebeam.knowledge.index_bench import as_json, goals, measure, report
from sidebeam.knowledge.reference_trie import ReferenceTrie


def test_the_trie_is_the_references() -> None:
    """LASER's golden vector without its prompt: depth first, most frequent first, and only two tokens matched."""
    trie = ReferenceTrie([[5, 6, 7, 8, 9], [5, 6, 7, 10], [5, 11, 7, 8]])
    assert trie.draft([5, 6], 63) == [(1, 7), (2, 8), (3, 9), (2, 10)]
    assert trie.draft([4, 6], 63) == [(1, 7), (2, 8), (3, 9), (2, 10)]
    assert trie.draft([5, 11], 63) == [(1, 7), (2, 8)]
    assert trie.draft([3, 3], 63) == []


def test_bench_texts_are_alike_and_repeatable() -> None:
    texts = TextSource(3).texts(5000, seed=1)
    again = TextSource(3).texts(5000, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(texts, again, strict=True))
    assert all(text[-1] == EOS for text in texts)
    assert 150 < np.mean([len(text) for text in texts]) < 350
    pairs = [{(int(a), int(b)) for a, b in pairwise(text)} for text in texts]
    shared = [len(pair & set().union(*pairs[:i], *pairs[i + 1 :])) / len(pair) for i, pair in enumerate(pairs)]
    assert np.mean(shared) > 0.4


def test_every_size_gets_a_row_and_small_ones_a_trie() -> None:
    rows = list(measure(TextSource(), [2000, 6000], trie_limit=4000, drafts=40))
    assert [row.trie_p50 is None for row in rows] == [False, True]
    for row in rows:
        assert row.drafts >= 40
        assert 1 <= row.tokens_per_draft < 64
        assert row.bytes_per_token < 60  # a file of so few tokens is a tenth of header
        assert row.quiet_p50 <= row.p50
    assert rows[1].tokens_per_draft > 1.2
    shown = report(rows)
    assert all(f"{row.tokens:,}" in shown for row in rows)
    assert json.loads(json.dumps(as_json(rows)))[0]["tokens"] == rows[0].tokens
    assert goals(rows) == []


def test_goals_are_those_of_the_largest_pool() -> None:
    """Missed ones are named as such."""
    (small,) = measure(TextSource(), [2000], trie_limit=0, drafts=20)
    large = replace(small, tokens=10_000_000, tiers_quiet_p99=50.1, quiet_p99=49.9, build_per_s=1e6, bytes_per_token=23)
    told = goals([small, large])
    assert "goal: draft p99, one pool, at most 50 us: 49.9, met" in told
    assert "goal: draft p99, all tiers, at most 50 us: 50.1, MISSED" in told
    assert len(told) == 5
