"""What is asked about relaxed texts: on the host only what may matter, and then the same as if all were asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sidebeam.texts import Relaxed, TokenTree, Vocabulary
from sidebeam.texts.accepted_path import Judged, longest
from sidebeam.texts.odds import Dispute, judgements, odds

from .drafters import random_draft, text_draft

SIZE = 6


def judged(logits: torch.Tensor, disputes: list[Dispute], vocabulary: Vocabulary) -> list[Judged]:
    return judgements([part.numpy() for part in odds(logits, disputes, frozenset(vocabulary.ends))], disputes)


def everything(start: int, tree: TokenTree, rule: Relaxed) -> Dispute:
    """As it is on a device from which nothing is copied before."""
    rows, row = np.unique(tree.parents + 1, return_inverse=True)
    return Dispute(start, tree, rule.k, np.arange(len(tree)), rows, row)


@pytest.mark.parametrize("p", [0.0, 0.05, 0.2])
def test_asking_about_few_nodes_accepts_what_asking_about_all_does(p: float) -> None:
    rng = np.random.default_rng(0)
    vocabulary = Vocabulary.plain(SIZE, [0] if p else [])  # at a floor of 0, no token can do without an end's
    settled = relaxed = 0
    for _ in range(300):
        rule = Relaxed(int(rng.integers(2, 4)), p)
        trees = [TokenTree.of(random_draft(rng, SIZE, int(rng.integers(1, 14)))) for _ in range(2)]
        starts = [0, 1 + len(trees[0])]
        logits = torch.from_numpy(rng.normal(0, 2, (2 + sum(map(len, trees)), SIZE)).astype(np.float32))
        chosen = logits.argmax(-1)
        own = [chosen[s : s + 1 + len(t)].numpy() for s, t in zip(starts, trees, strict=True)]
        few = [Dispute.of(logits, chosen, s, t, rule) for s, t in zip(starts, trees, strict=True)]
        asked = [dispute for dispute in few if dispute is not None]
        narrow = iter(judged(logits, asked, vocabulary)) if asked else iter(())
        wide = judged(logits, [everything(s, t, rule) for s, t in zip(starts, trees, strict=True)], vocabulary)
        for tree, winners, dispute, all_of_it in zip(trees, own, few, wide, strict=True):
            wanted = longest(tree, winners, all_of_it, rule, 0.0, vocabulary)
            hits = tree.tokens[wanted] == winners[tree.parents[wanted] + 1]
            if dispute is None:
                assert hits.all()
                settled += 1
            else:
                assert longest(tree, winners, next(narrow), rule, 0.0, vocabulary) == wanted
                relaxed += not hits.all()
    assert settled > (0 if p == 0 else 30)
    assert relaxed > 30


def test_only_what_can_be_reached_is_asked_about() -> None:
    logits = torch.full((5, SIZE), -9.0)
    logits[:, 1] = 0.0  # the likeliest everywhere
    logits[:, 2] = -1.0  # q of about 0.27
    chosen = logits.argmax(-1)
    tree = TokenTree.of(text_draft([(1, -1), (3, -1), (2, 0), (2, 1)], [0.9, 0.8, 0.7, 0.6]))
    dispute = Dispute.of(logits, chosen, 0, tree, Relaxed(2, 0.1))
    assert dispute is not None
    assert tree.tokens[dispute.nodes].tolist() == [1, 2]  # not the 2 below 3, which is too unlikely
    assert dispute.rows.tolist() == [0, 1]
    assert Dispute.of(logits, chosen, 0, tree, Relaxed(2, 0.5)) is None
