"""Prompt lookup drafts what followed before."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sidebeam.knowledge.draft import ABOVE
from sidebeam.texts import PromptLookup

from .test_token_tree import paths


def test_a_repetition_goes_on_as_before() -> None:
    session = PromptLookup().open(np.array([9, 3, 4, 5, 6, 7, 8, 3]))
    session.extend(np.array([4]))
    draft = session.draft(64, 4)
    assert paths(draft.tokens, draft.parents)[:4] == [(5,), (5, 6), (5, 6, 7), (5, 6, 7, 8)]
    assert np.all(np.diff(draft.probs[:4]) < 0)


def test_the_longest_match_speaks_first() -> None:
    session = PromptLookup().open(np.array([1, 2, 3, 50, 2, 3, 60, 3, 70, 1, 2, 3]))
    draft = session.draft(64, 1)
    assert draft.tokens.tolist() == [50, 60]  # of 1 2 3 and of 2 3; 3 alone is not asked
    assert np.all(np.diff(draft.probs) < 0)
    session.extend(np.array([3]))
    assert session.draft(64, 1).tokens.tolist() == [3, 70, 60, 50]  # 3 3 is new: what followed 3, latest first


def test_nothing_known_is_nothing_drafted() -> None:
    assert len(PromptLookup().open(np.array([1, 2, 3])).draft(64, 8)) == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 30), st.integers(1, 8))
def test_every_path_has_followed_before(text: list[int], rows: int, deep: int) -> None:
    whole = PromptLookup().open(np.array(text))
    grown = PromptLookup().open(np.array(text[:1]))
    for token in text[1:]:
        grown.extend(np.array([token]))
    draft = whole.draft(rows, deep)
    again = grown.draft(rows, deep)
    assert draft.tokens.tolist() == again.tokens.tolist()
    assert len(draft) <= rows
    found = paths(draft.tokens, draft.parents)
    assert len(set(found)) == len(found)
    for path in found:
        assert len(path) <= deep
        wanted = [text[-1], *path]
        assert any(text[i : i + len(wanted)] == wanted for i in range(len(text)))
    inner = draft.parents != ABOVE
    assert np.all(draft.probs[inner] <= draft.probs[draft.parents[inner]])
    seen_before = text[-1] in text[:-1]
    assert bool(len(draft)) == seen_before
