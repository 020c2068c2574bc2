"""A draft model's log-probs against ones written out: shares of the trie's children, depth by depth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from sidebeam.bundle import Bundle
from sidebeam.catalog import ROOT, Catalog, LeafFilter
from sidebeam.engine import load_draft
from sidebeam.search import Width

PROMPT = np.array([1, 5, 14, 27, 8])
EVERY = Width(10_000, 10_000)


@pytest.mark.parametrize("scoring", ["raw", "catalog"])
@pytest.mark.parametrize("excluded", [None, np.arange(0, 150, 3)])
def test_log_probs_are_shares_of_what_can_follow_whatever_the_targets_scoring(
    bundle_of: Callable[..., Bundle], catalog: Catalog, scoring: str, excluded: np.ndarray | None
) -> None:
    """Excluded items are no part of a catalog-scored target's shares, and take nothing from a raw one's."""
    bundle = bundle_of("llama", scoring, draft="qwen2")
    gone = None if excluded is None else excluded[excluded < catalog.n_leaves]
    session = load_draft(bundle, catalog).open(PROMPT, gone)
    assert session is not None
    tree = session.propose(None, EVERY, 3)
    session.close()
    live = None if gone is None else LeafFilter.without_leaves(catalog, gone)
    model = AutoModelForCausalLM.from_pretrained(bundle.draft)
    wanted: dict[int, float] = {}
    level = {ROOT: 0.0}
    for _ in range(3):
        below: dict[int, float] = {}
        for node, so_far in level.items():
            first, end = (int(each[0]) for each in catalog.trie.children(np.array([node])))
            children = np.arange(first, end)
            alive = np.ones(len(children), np.bool_) if live is None else live.alive(catalog, children)
            path = [] if node == ROOT else catalog.path(np.array([node]))[0].tolist()
            with torch.no_grad():
                logits = model(torch.tensor([[*PROMPT.tolist(), *path]])).logits[0, -1].numpy()
            exps = np.exp(logits[catalog.trie.tokens(children)].astype(np.float64))
            total = exps[alive].sum() if scoring == "catalog" else exps.sum()
            shares = so_far + np.log(exps / total)
            below.update(zip(children[alive].tolist(), shares[alive].tolist(), strict=True))
        wanted.update(below)
        level = below
    assert sorted(tree.nodes.tolist()) == sorted(wanted)
    assert tree.log_probs == pytest.approx([wanted[node] for node in tree.nodes.tolist()], abs=1e-4)
