"""Drafters that make verification work: one knows the answer and hides it among wrong tokens, one is hostile."""

from __future__ import annotations

import numpy as np

from sidebeam.knowledge.draft import ABOVE, TextDraft


def text_draft(
    nodes: list[tuple[int, int]], probs: list[float] | None = None, tiers: list[int] | None = None
) -> TextDraft:
    """A draft from (token, parent) pairs."""
    n = len(nodes)
    return TextDraft(
        np.array([token for token, _ in nodes], np.int32),
        np.array([parent for _, parent in nodes], np.int32),
        np.array([0.5] * n if probs is None else probs, np.float32),
        np.array([0] * n if tiers is None else tiers, np.uint8),
    )


def random_draft(rng: np.random.Generator, vocab: int, n: int) -> TextDraft:
    """A tree with distinct siblings and falling probs."""
    nodes: list[tuple[int, int]] = []
    probs: list[float] = []
    for node in range(n):
        parent = int(rng.integers(-1, node)) if node else ABOVE
        taken = {token for token, above in nodes if above == parent}
        token = int(rng.integers(0, vocab))
        if token in taken:
            continue
        parent = min(parent, len(nodes) - 1)
        nodes.append((token, parent))
        probs.append(float(rng.random()) * (1.0 if parent == ABOVE else probs[parent]))
    return text_draft(nodes, probs, rng.integers(0, 3, len(nodes)).tolist())


class Clairvoyant:
    """Drafts the true text in a random place of a tree of wrong tokens; `sight` is P(the next true token is in it)."""

    def __init__(self, answer: list[int], vocab: int, seed: int = 0, sight: float = 0.8) -> None:
        self.answer, self.vocab, self.seed, self.sight = answer, vocab, seed, sight

    def open(self, prompt: np.ndarray) -> _Seer:
        return _Seer(self)


class _Seer:
    def __init__(self, owner: Clairvoyant) -> None:
        self.owner = owner
        self.rng = np.random.default_rng(owner.seed)
        self.written = 0

    def draft(self, budget_rows: int, max_depth: int) -> TextDraft:
        true = self.owner.answer[self.written : self.written + max_depth]
        nodes: list[tuple[int, int]] = []
        probs: list[float] = []
        parent, prob = ABOVE, 1.0
        for token in true:
            wrong = [t for t in self.rng.choice(self.owner.vocab, 2, replace=False).tolist() if t != token]
            siblings = [*wrong, token] if self.rng.random() < self.owner.sight else wrong
            self.rng.shuffle(siblings)
            if len(nodes) + len(siblings) > budget_rows:
                break
            first = len(nodes)
            nodes += [(sibling, parent) for sibling in siblings]
            probs += [prob * float(p) for p in self.rng.uniform(0.5, 1, len(siblings))]
            if token not in siblings:
                break
            parent = first + siblings.index(token)
            prob = probs[parent]
        return text_draft(nodes, probs, [len(nodes) % 3] * len(nodes))

    def extend(self, tokens: np.ndarray) -> None:
        self.written += len(tokens)

    def close(self) -> None:
        self.written = -1


class Adversary:
    """Random trees that claim to be certain, with repeated siblings, beyond every limit."""

    def __init__(self, vocab: int, seed: int = 0) -> None:
        self.vocab, self.seed = vocab, seed

    def open(self, prompt: np.ndarray) -> _Hostile:
        return _Hostile(self.vocab, np.random.default_rng(self.seed))


class _Hostile:
    def __init__(self, vocab: int, rng: np.random.Generator) -> None:
        self.vocab, self.rng = vocab, rng

    def draft(self, budget_rows: int, max_depth: int) -> TextDraft:
        n = int(self.rng.integers(0, 60))
        parents = [int(self.rng.integers(max(-1, node - 3), node)) if node else ABOVE for node in range(n)]
        return text_draft(list(zip(self.rng.integers(0, self.vocab, n).tolist(), parents, strict=True)), [1.0] * n)

    def extend(self, tokens: np.ndarray) -> None:
        pass

    def close(self) -> None:
        pass
