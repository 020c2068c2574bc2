"""The suffix index and the drafts from it against counting place by place."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidebeam.knowledge.calibration import CELLS, GLOBAL, GROUP, TIERS, PoolDraft, prior_weights
from sidebeam.knowledge.cursors import occurrences
from sidebeam.knowledge.deleted import NOTHING, alive, deleted_leaves, gone_before
from sidebeam.knowledge.draft import ABOVE
from sidebeam.knowledge.error import KnowledgeError
from sidebeam.knowledge.layout import COUNT, N_ORDER, N_ROWS, ORDER, ROW, ROWS, TOKEN_LIMIT
from sidebeam.knowledge.memory_word import address
from sidebeam.knowledge.own_text import _append
from sidebeam.knowledge.retrieve import retrieve
from sidebeam.knowledge.session import Indexes, Session
from sidebeam.knowledge.suffix_sort import suffix_array
from sidebeam.knowledge.suffix_tree import build_index, join
from tests.knowledge import oracle

few = st.lists(st.integers(0, 3), max_size=24)
texts = st.lists(few, max_size=6)


def paths(draft: PoolDraft) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = []
    for token, parent in zip(draft.tokens.tolist(), draft.parents.tolist(), strict=True):
        found.append((*(() if parent == ABOVE else found[parent]), token))
    return found


def starts_of(given_texts: list[list[int]]) -> npt.NDArray[np.int64]:
    return np.cumsum([0, *(len(text) + 1 for text in given_texts)]).astype(np.int64)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.integers(0, 4), max_size=60))
def test_suffixes_are_sorted(symbols: list[int]) -> None:
    order = suffix_array(np.array(symbols, np.int32), 5)
    assert order.tolist() == sorted(range(len(symbols)), key=lambda i: symbols[i:])


@settings(deadline=None, max_examples=200)
@given(texts, st.lists(st.integers(0, 4), min_size=1, max_size=5))
def test_counts_are_those_of_counting(given_texts: list[list[int]], tokens: list[int]) -> None:
    index = build_index(join(given_texts))
    first, end = occurrences(address(index), np.array(tokens, np.int32))
    assert end - first == oracle.count(given_texts, tokens)
    at = index[int(index[ORDER]) :][first:end]
    joined = join(given_texts)
    assert all(joined[place : place + len(tokens)].tolist() == tokens for place in at)


@pytest.mark.parametrize("alphabet", [1, 2, 40, 5000])
def test_wide_and_narrow_rows_are_found(alphabet: int) -> None:
    """Rows with many ways on take the hash table; every pair of tokens that stands there is found, and no other."""
    rng = np.random.default_rng(alphabet)
    given_texts = [rng.integers(0, alphabet, 300).tolist() for _ in range(9)]
    index = build_index(join(given_texts))
    pairs = {pair for text in given_texts for pair in itertools.pairwise(text)}
    asked = [*pairs, *((int(a), int(b)) for a, b in rng.integers(0, alphabet + 2, (400, 2)))]
    for pair in asked:
        first, end = occurrences(address(index), np.array(pair, np.int32))
        assert (end > first) == (pair in pairs)


@settings(deadline=None, max_examples=250)
@given(
    st.lists(st.tuples(texts, st.sampled_from([GROUP, GLOBAL]), st.sets(st.integers(0, 5))), max_size=3),
    few,
    few,
    st.integers(1, 40),
    st.integers(1, 6),
    st.integers(0, 9),
    st.sampled_from([0.0, 0.2]),
)
def test_a_draft_is_the_true_top(
    pools: list[tuple[list[list[int]], int, set[int]]],
    request_text: list[int],
    entity_text: list[int],
    nodes: int,
    depth: int,
    seed: int,
    least: float,
) -> None:
    """Acceptance test (d), with deleted texts, all tiers, and any weights; and the contract of `TextDraft`."""
    rng = np.random.default_rng(seed)
    weights = prior_weights() if seed == 0 else rng.choice([0.25, 0.5, 0.9, 1.0], (2, CELLS))
    parts, alive_texts = [], []
    for pool, tier, gone in pools:
        index = build_index(join(pool))
        dead = np.array([text for text in sorted(gone) if text < len(pool)], np.int64)
        parts.append((index, deleted_leaves(index, starts_of(pool), dead), tier))
        alive_texts.append(([text for i, text in enumerate(pool) if i not in gone], tier))
    session = Session([], Indexes.of(parts), weights, entity_text)
    cut = sorted(rng.integers(0, len(request_text) + 1, 2))
    for part in (request_text[: cut[0]], request_text[cut[0] : cut[1]], request_text[cut[1] :]):
        session.extend(part)
        session.draft(2, 2)  # cursors move in steps of any length
    found = session.draft(nodes, depth, least)
    wanted = oracle.draft(alive_texts, request_text, entity_text, weights, nodes, depth, least)
    assert paths(found) == [path for path, _, _ in wanted]
    np.testing.assert_allclose(found.probs, [estimate for _, estimate, _ in wanted], rtol=1e-6)
    assert found.cells.tolist() == [cell for _, _, cell in wanted]
    assert found.tiers.tolist() == [cell // (CELLS // len(TIERS)) for _, _, cell in wanted]
    assert len(found) <= nodes
    assert len(set(paths(found))) == len(found)
    assert all(found.parents < np.arange(len(found)))
    assert all(found.depths <= depth)
    assert all(found.probs <= np.append(found.probs, np.float32(1))[found.parents])


@settings(deadline=None, max_examples=100)
@given(st.lists(few, min_size=1, max_size=6), st.data())
def test_deleting_a_text_takes_exactly_its_counts(given_texts: list[list[int]], data: st.DataObject) -> None:
    """Acceptance test (e): at every row of the index."""
    gone = data.draw(st.sets(st.integers(0, len(given_texts) - 1)))
    index = build_index(join(given_texts))
    table = deleted_leaves(index, starts_of(given_texts), np.array(sorted(gone), np.int64))
    live = [text for i, text in enumerate(given_texts) if i not in gone]
    for tokens in {tuple(text[i : i + n]) for text in given_texts for i in range(len(text)) for n in (1, 2, 3)}:
        first, end = occurrences(address(index), np.array(tokens, np.int32))
        dead = gone_before(address(table), end) - gone_before(address(table), first) if len(table) else 0
        assert end - first - dead == oracle.count(live, tokens)
    for row in range(int(index[N_ROWS])):
        full = alive(address(index), 0, row)
        assert full == int(index[int(index[ROWS]) + ROW * row + COUNT])


@pytest.mark.parametrize("n", [1, 31, 32, 479, 480, 481, 2000])
def test_deleted_leaves_are_counted_over_every_boundary(n: int) -> None:
    index = build_index(join([list(range(n)), list(range(n, n + 7))]))
    table = deleted_leaves(index, np.array([0, n + 1, n + 9]), np.array([0]))
    assert [gone_before(address(table), leaf) for leaf in range(n + 8)] == [*range(n), *([n] * 8)]
    assert int(index[N_ORDER]) == n + 7


def test_a_long_prompt_costs_no_more_than_its_end() -> None:
    """The same draft whether a text came at once, token by token, or after another."""
    rng = np.random.default_rng(3)
    pool = [rng.integers(0, 50, 200).tolist() for _ in range(30)]
    index = build_index(join(pool))
    parts = Indexes.of([(index, NOTHING, GLOBAL)])
    text = pool[4][20:120]
    at_once = Session(text, parts, prior_weights())
    in_steps = Session(text[:1], parts, prior_weights())
    for token in text[1:]:
        in_steps.draft(4, 4)
        in_steps.extend([token])
    one, other = at_once.draft(63, 32), in_steps.draft(63, 32)
    np.testing.assert_array_equal(one.tokens, other.tokens)
    np.testing.assert_array_equal(one.probs, other.probs)
    assert paths(one)[0] == (pool[4][120],)


def test_only_the_latest_places_of_an_own_text_are_looked_at() -> None:
    """200 times token 7, each followed by another token: the latest 128 are drafted and no others."""
    text = [token for i in range(200) for token in (7, 100 + i)]
    draft = Session([*text, 7], Indexes.of([]), prior_weights()).draft(500, 1)
    assert sorted(draft.tokens.tolist()) == list(range(100 + 72, 100 + 200))


def test_many_nodes_need_more_memory_and_get_it() -> None:
    rng = np.random.default_rng(1)
    pool = [rng.integers(0, 30, 400).tolist() for _ in range(20)]
    index = build_index(join(pool))
    text = pool[2][:40]
    weights = prior_weights()
    found = Session(text, Indexes.of([(index, NOTHING, GLOBAL)]), weights).draft(3000, 30)
    wanted = oracle.draft([(pool, GLOBAL)], text, [], weights, 3000, 30)
    assert paths(found) == [path for path, _, _ in wanted]
    assert len(found) == 3000


def test_no_kind_of_argument_waits_for_a_compiler() -> None:
    """What a caller may pass comes to the kernels in one form, the one that was compiled at the start."""
    index = build_index(join([[1, 2, 3, 4], [1, 2, 5]]))
    before = len(retrieve.signatures), len(_append.signatures)
    frozen = np.array([1, 2], np.int16)
    frozen.flags.writeable = False
    for prompt in ([1, 2], (1, 2), np.array([1, 2], np.uint32), frozen, np.array([1, 9, 2, 9])[::2], []):
        session = Session(prompt, Indexes.of([(index, NOTHING, GLOBAL)]), prior_weights())
        session.extend(np.array([2], np.uint8))
        session.draft(np.int32(7), np.uint8(3), 0)
        session.draft(True, 3, np.float32(0))
        session.extend([1] * 2000)
    assert (len(retrieve.signatures), len(_append.signatures)) == before


def test_nothing_known_is_an_empty_draft() -> None:
    assert len(Session([1, 2, 3], Indexes.of([]), prior_weights()).draft(63, 12)) == 0
    empty = build_index(join([]))
    assert len(Session([], Indexes.of([(empty, NOTHING, GLOBAL)]), prior_weights()).draft(63, 12)) == 0
    some = build_index(join([[1, 2, 3]]))
    assert len(Session([], Indexes.of([(some, NOTHING, GLOBAL)]), prior_weights()).draft(63, 12)) == 0


def test_bad_tokens_and_bounds_are_named() -> None:
    with pytest.raises(KnowledgeError, match=f"below {TOKEN_LIMIT:,}; given {TOKEN_LIMIT:,}"):
        build_index(join([[1, TOKEN_LIMIT]]))
    session = Session([1], Indexes.of([]), prior_weights())
    with pytest.raises(KnowledgeError, match="given -1 to 3"):
        session.extend([3, -1])
    with pytest.raises(KnowledgeError, match=r"token ids; given \[0\.5\]"):
        session.extend([0.5])
    with pytest.raises(KnowledgeError, match="nodes must be from 0 to 16382; given 16383"):
        session.draft(16383, 3)
    session.close()
    with pytest.raises(KnowledgeError, match="closed"):
        session.draft(3, 3)


def test_bytes_per_token_are_bounded_whatever_the_text() -> None:
    """At most 40: for random text, for texts alike, and for one token over and over."""
    rng = np.random.default_rng(0)
    alike = rng.integers(0, 2000, 250)
    near = [np.where(rng.random(250) < 0.1, rng.integers(0, 2000, 250), alike) for _ in range(80)]
    for text in ([rng.integers(0, 30000, 20_000)], near, [np.zeros(20_000, int)], [rng.integers(0, 2, 20_000)]):
        joined = join(text)
        assert build_index(joined).nbytes / len(joined) <= 40
