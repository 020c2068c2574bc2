"""Merged drafts against brute force over paths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidebeam.knowledge.draft import TextDraft
from sidebeam.texts import MergedDrafter, PromptLookup, merge

from .drafters import random_draft, text_draft
from .test_token_tree import paths


def by_path(draft: TextDraft) -> dict[tuple[int, ...], tuple[float, int]]:
    found = dict(
        zip(
            paths(draft.tokens, draft.parents),
            zip(draft.probs.tolist(), draft.tiers.tolist(), strict=True),
            strict=True,
        )
    )
    assert len(found) == len(draft)  # no path twice
    return found


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 3), st.integers(0, 20))
def test_a_merge_holds_every_path_with_its_best_prob(seed: int, n: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    drafts = [random_draft(rng, 3, int(rng.integers(0, 15))) for _ in range(n)]
    wanted: dict[tuple[int, ...], tuple[float, int]] = {}
    for draft in drafts:
        for path, told in by_path(draft).items():
            if path not in wanted or told[0] > wanted[path][0]:
                wanted[path] = told
    whole = merge(drafts)
    assert by_path(whole) == wanted
    cut = merge(drafts, most)
    kept = by_path(cut)
    assert kept.items() <= wanted.items()
    assert all(path[:-1] in kept for path in kept if len(path) > 1)
    assert np.all(cut.parents < np.arange(len(cut)))
    best = sorted((prob for prob, _ in wanted.values()), reverse=True)[:most]
    assert sorted((prob for prob, _ in kept.values()), reverse=True) == best


def test_one_tree_of_two_drafters() -> None:
    first = text_draft([(5, -1), (6, 0), (7, 1)], [0.9, 0.5, 0.1])
    second = text_draft([(8, -1), (5, -1), (6, 1), (9, 2)], [0.3, 0.8, 0.6, 0.2], [1, 1, 1, 1])
    merged = by_path(merge([first, second]))
    assert {path: (round(p, 3), tier) for path, (p, tier) in merged.items()} == {
        (5,): (0.9, 0),
        (5, 6): (0.6, 1),
        (5, 6, 7): (0.1, 0),
        (8,): (0.3, 1),
        (5, 6, 9): (0.2, 1),
    }


def test_drafters_are_merged_with_tiers_of_their_own() -> None:
    session = MergedDrafter([PromptLookup(), PromptLookup()], [0, 7]).open(np.array([3, 4, 5, 3]))
    session.extend(np.array([4]))
    draft = session.draft(8, 3)
    assert draft.tokens.tolist()[0] == 5
    assert set(draft.tiers.tolist()) == {0}  # both say the same: the first has it
    session.close()
    with pytest.raises(ValueError, match="first_tiers must name 2 tiers; given 1"):
        MergedDrafter([PromptLookup(), PromptLookup()], [0])
