"""A draft model's log-probs against ones written out, depth by depth: shares of children, or of the vocabulary."""

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


@pytest.mark.parametrize("draft_scoring", ["catalog", "raw"])
@pytest.mark.parametrize("scoring", ["raw", "catalog"])
@pytest.mark.parametrize("excluded", [None, np.arange(0, 150, 3)])
def test_log_probs_are_as_the_drafts_scoring_says_whatever_the_targets(
    bundle_of: Callable[..., Bundle], catalog: Catalog, scoring: str, draft_scoring: str, excluded: np.ndarray | None
) -> None:
    """Excluded items are no part of a catalog-scored target's shares, and take nothing from a raw one's."""
    bundle = bundle_of("llama", scoring, draft="qwen2", draft_scoring=draft_scoring)
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
            every = np.exp(logits.astype(np.float64))
            exps = every[catalog.trie.tokens(children)]
            shared = exps[alive] if scoring == "catalog" else exps
            total = (every if draft_scoring == "raw" else shared).sum()
            shares = so_far + np.log(exps / total)
            below.update(zip(children[alive].tolist(), shares[alive].tolist(), strict=True))
        wanted.update(below)
        level = below
    assert sorted(tree.nodes.tolist()) == sorted(wanted)
    assert tree.log_probs == pytest.approx([wanted[node] for node in tree.nodes.tolist()], abs=1e-4)
