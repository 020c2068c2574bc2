"""What the target said before, to people like this one: a drafter that costs no pass and learns from every one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.catalog import ROOT, Catalog, ranges
from sidebeam.search.draft_beams import Width
from sidebeam.search.scored_tree import Frontier

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

RECENCY = 0.8  # what an item of the prompt weighs, against the one bought after it
MOST_ITEMS = 40  # of a prompt that are looked at; earlier ones would weigh next to nothing
MOST_ROOTS = 2048  # first tokens of the catalog up to which tastes are learned: their table has the square of it
TASTE_RATE, HABIT_RATE = 4.0, 1.2  # steps of the regression, for what depends on the prompt and for what does not
LEARNING_RATES = 1 / np.arange(1, 11, dtype=np.float32)  # weight of the newest probabilities in a node's mean
NEVER = 1e-6  # probability of a child that the target has ruled out so far


@dataclass(frozen=True, slots=True)
class Tastes:
    """First tokens of the items that a prompt names, as children of the root, and what each weighs."""

    roots: Ints  # [n]
    weights: Floats  # [n]


class Memory:
    """Predicts the target's log-probs from those it gave.

    First tokens: softmax regression on the first tokens in the prompt, recent ones weighing more; one step of
    normalised least mean squares towards each distribution that the target gives. It starts from the prompt's own
    tokens, since tastes change slowly. Deeper: each child's mean probability below its parent, whoever asked; before
    the first time, its share of the leaves. Takes 5 bytes a node.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._trie = trie = catalog.trie
        nodes = np.arange(trie.n_nodes)
        low, high = trie.leaves(nodes)
        leaves = (high - low).astype(np.float32)
        fan_out = np.diff(trie.first_child)
        share = leaves[1:] / np.repeat(leaves[: len(fan_out)], fan_out)
        self._mean = np.concatenate([[1], share]).astype(np.float32)  # [nodes]
        self._seen = np.zeros(len(fan_out), np.uint8)  # [inner nodes]
        roots = int(fan_out[ROOT])
        self._tastes = np.eye(roots, dtype=np.float32) if roots <= MOST_ROOTS else None  # [roots, roots]
        self._habits = np.zeros(roots, np.float32)  # [roots]

    def read(self, prompt: Ints) -> Tastes:
        """What the prompt tells; a token that begins no SID tells nothing."""
        named = self._trie.roots(prompt[::-1])
        named = named[named >= 0][:MOST_ITEMS] - self._trie.level[1]
        weights = np.bincount(named, RECENCY ** np.arange(len(named)))
        roots = np.flatnonzero(weights)
        return Tastes(roots, weights[roots].astype(np.float32))

    def propose(self, tastes: Tastes, nodes: Ints, log_probs: Floats, width: Width, length: int) -> list[Ints]:
        """Beam search of that width for `length` levels below `nodes`, which have these log-probs and one depth.

        Returns the inner nodes of each level, best first.
        """
        levels = []
        for _ in range(length):
            if not len(nodes) or nodes[0] >= self._trie.level[-3]:  # below stand leaves, which nobody needs to score
                break
            first, end = self._trie.children(nodes)
            children = ranges(first, end - first)
            edges = self._roots(tastes) if nodes[0] == ROOT else np.log(self._mean[children] + NEVER)
            sums = np.repeat(log_probs, end - first) + edges
            chosen = width.best(children, sums, int((end - first)[: width.top_k].sum()))
            nodes, log_probs = children[chosen], sums[chosen]
            levels.append(nodes)
        return levels

    def learn(self, tastes: Tastes, frontier: Frontier, log_probs: Floats) -> None:
        """Take in the target's log-probs of all children of a frontier."""
        nodes, children, counts = frontier.nodes, frontier.children, frontier.counts
        given = np.exp(log_probs)
        if nodes[0] == ROOT:
            self._learn_roots(tastes, given[: counts[0]])
        seen = self._seen[nodes]
        rate = np.repeat(LEARNING_RATES[seen], counts)
        mean = self._mean[children]
        self._mean[children] = mean + rate * (given - mean)
        self._seen[nodes] = np.minimum(seen + 1, len(LEARNING_RATES) - 1)

    def _roots(self, tastes: Tastes) -> Floats:
        """Log-probs of the root's children.  # [roots]"""
        scores = self._habits.copy()
        if self._tastes is not None and len(tastes.roots):
            scores += tastes.weights @ self._tastes[tastes.roots]
        scores -= scores.max()
        scores -= np.log(np.exp(scores).sum())
        return scores

    def _learn_roots(self, tastes: Tastes, given: Floats) -> None:
        step = given / given.sum() - np.exp(self._roots(tastes))
        step /= 1 + tastes.weights @ tastes.weights
        self._habits += HABIT_RATE * step
        if self._tastes is not None:
            self._tastes[tastes.roots] += TASTE_RATE * tastes.weights[:, None] * step
