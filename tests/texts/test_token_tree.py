"""Trees in a pass: order, ancestors, and that a node's logits depend on what is above it alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sidebeam.knowledge.draft import ABOVE, TextDraft
from sidebeam.models import Pack
from sidebeam.texts import TextRequest, TextTicket, TokenTree
from sidebeam.texts.drafter import checked

from .conftest import VOCAB, Pair, make_pair
from .drafters import random_draft
from .oracle import path_to

PROMPT = np.array([1, 17, 40, 5, 63])


def paths(tokens: np.ndarray, parents: np.ndarray) -> list[tuple[int, ...]]:
    """The tokens from the top to each node."""
    found: list[tuple[int, ...]] = []
    for token, parent in zip(tokens.tolist(), parents.tolist(), strict=True):
        found.append((() if parent == ABOVE else found[parent]) + (token,))
    return found


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40))
def test_a_tree_is_its_draft_in_preorder(seed: int, n: int) -> None:
    draft = random_draft(np.random.default_rng(seed), 6, n)
    tree = TokenTree.of(draft)
    assert sorted(paths(tree.tokens, tree.parents)) == sorted(paths(draft.tokens, draft.parents))
    below = tree.ancestors()
    for node in range(len(tree)):
        above = path_to(tree, node)
        assert tree.depths[node] == len(above)
        assert np.flatnonzero(below[node]).tolist() == sorted(above)
        family = np.flatnonzero(below[:, node])
        assert family.tolist() == list(range(node, node + len(family)))  # preorder: descendants follow at once
        later = [s for s in range(node + 1, len(tree)) if tree.parents[s] == tree.parents[node]]
        assert all(tree.probs[s] <= tree.probs[node] for s in later)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(1, 30), st.integers(1, 5))
def test_a_draft_is_cut_to_its_limits(seed: int, n: int, most: int, deep: int) -> None:
    rng = np.random.default_rng(seed)
    draft = random_draft(rng, 6, n)
    draft = TextDraft(draft.tokens, draft.parents, rng.normal(0.5, 1, len(draft)).astype(np.float32), draft.tiers)
    cut = checked(draft, 6, most, deep)
    wanted = [path for path in paths(draft.tokens[:most], draft.parents[:most]) if len(path) <= deep]
    assert paths(cut.tokens, cut.parents) == wanted
    assert np.all((cut.probs >= 0) & (cut.probs <= 1))
    inner = cut.parents != ABOVE
    assert np.all(cut.probs[inner] <= cut.probs[cut.parents[inner]])


def logits_by_path(pair: Pair, tree: TokenTree, cells: int = 0) -> dict[tuple[int, ...], torch.Tensor]:
    """Logits of every node, with the prompt in the same pass or, if `cells`, its first tokens in an earlier one."""
    ticket = TextTicket(TextRequest(PROMPT, 9), 0, 9, slot=0)
    if cells:
        run(pair, ticket, PROMPT[:cells], TokenTree.empty())
        ticket.cells = cells
    logits = run(pair, ticket, PROMPT[cells:], tree)
    return dict(zip([(), *paths(tree.tokens, tree.parents)], logits, strict=True))


def run(pair: Pair, ticket: TextTicket, due: np.ndarray, tree: TokenTree) -> torch.Tensor:
    placed = ticket.place(0, due, tree)
    none = np.zeros(0, np.int64)
    return pair.packed.logits(Pack(placed.tokens, placed.positions, [placed.segment], placed.heads, none, none))


def test_logits_of_a_node_are_those_of_its_path_alone(pair: Pair) -> None:
    rng = np.random.default_rng(5)
    for cells in (0, 4):
        tree = TokenTree.of(random_draft(rng, VOCAB, 14))
        for path, ours in logits_by_path(pair, tree, cells).items():
            with torch.inference_mode():
                theirs = pair.reference(torch.tensor([[*PROMPT.tolist(), *path]])).logits[0, -1]
            torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-4)


def test_siblings_may_be_shuffled_or_dropped(llama: Pair) -> None:
    rng = np.random.default_rng(6)
    for _ in range(8):
        draft = random_draft(rng, VOCAB, 20)
        whole = logits_by_path(llama, TokenTree.of(draft), 4)
        shuffled = TokenTree.of(TextDraft(draft.tokens, draft.parents, rng.random(len(draft)), draft.tiers))
        assert set(paths(shuffled.tokens, shuffled.parents)) == set(whole) - {()}
        kept = rng.random(len(draft)) < 0.7
        for node, parent in enumerate(draft.parents.tolist()):
            kept[node] &= parent == ABOVE or kept[parent]
        for tree in (shuffled, TokenTree.of(draft, kept)):
            for path, logits in logits_by_path(llama, tree, 4).items():
                torch.testing.assert_close(logits, whole[path], atol=2e-5, rtol=1e-5)


def test_a_model_of_an_unknown_family_keeps_its_own_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidebeam.models.packed_decoder.supports", lambda _: False)
    pair = make_pair("qwen2")
    tree = TokenTree.of(random_draft(np.random.default_rng(7), VOCAB, 10))
    for path, ours in logits_by_path(pair, tree, 2).items():
        with torch.inference_mode():
            theirs = pair.reference(torch.tensor([[*PROMPT.tolist(), *path]])).logits[0, -1]
        torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-4)
