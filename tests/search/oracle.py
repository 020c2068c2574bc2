"""A target without a network: fixed random logits for every prefix, and plain beam search over them in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sidebeam.catalog import Catalog
from sidebeam.search import Budget, Coverage, Load, Memory, PassCurve, Search, SearchRequest
from sidebeam.search.request import Scoring

VOCAB = 40


class Oracle:
    """Logits [VOCAB] for every node of a catalog."""

    def __init__(self, catalog: Catalog, seed: int, peaked: float = 2.0) -> None:
        self.catalog = catalog
        rng = np.random.default_rng(seed)
        self.logits = (rng.normal(size=(catalog.trie.n_nodes, VOCAB)) * peaked).astype(np.float32)

    def answer(self, nodes: np.ndarray, scoring: Scoring) -> np.ndarray:
        """What a pass over `nodes` would bring: log-probs (raw) or logits (catalog) of all their children."""
        values = []
        for node in nodes.tolist():
            first, end = self.catalog.trie.children(np.array([node]))
            tokens = self.catalog.trie.tokens(np.arange(first[0], end[0]))
            logits = self.logits[node]
            if scoring == "raw":
                logits = logits - np.float32(np.logaddexp.reduce(logits.astype(np.float64)))
            values.append(logits[tokens])
        return np.concatenate(values).astype(np.float32)

    def children(self, node: int, scoring: Scoring, live: Callable[[int], bool]) -> list[tuple[int, float]]:
        """(child, log-prob) of a node's live children, by plain arithmetic in double precision."""
        first, end = self.catalog.trie.children(np.array([node]))
        kept = [c for c in range(int(first[0]), int(end[0])) if live(c)]
        if not kept:
            return []
        tokens = dict(zip(kept, self.catalog.trie.tokens(np.array(kept, np.int64)).tolist(), strict=True))
        logits = self.logits[node].astype(np.float64)
        pool = logits if scoring == "raw" else logits[list(tokens.values())]
        total = math.log(sum(math.exp(x) for x in pool))
        return [(child, float(logits[token]) - total) for child, token in tokens.items()]


def live_test(catalog: Catalog, excluded: np.ndarray | None) -> Callable[[int], bool]:
    dead = set() if excluded is None else set(excluded.tolist())

    def live(node: int) -> bool:
        low, high = catalog.trie.leaves(np.array([node]))
        return any(leaf not in dead for leaf in range(int(low[0]), int(high[0])))

    return live


def plain_beam_search(oracle: Oracle, k: int, scoring: Scoring, excluded: np.ndarray | None) -> list[tuple[int, float]]:
    """Leaves and log-probs, best first."""
    live = live_test(oracle.catalog, excluded)
    beams = [(0, 0.0)]
    for _ in range(oracle.catalog.depth):
        grown = [(c, s + lp) for node, s in beams for c, lp in oracle.children(node, scoring, live)]
        beams = sorted(grown, key=lambda b: -b[1])[:k]
    return [(int(oracle.catalog.node_leaf(np.array([n]))[0]), s) for n, s in beams]


def whole_catalog(oracle: Oracle, k: int, scoring: Scoring, excluded: np.ndarray | None) -> list[tuple[int, float]]:
    """The K best leaves of all."""
    return plain_beam_search(oracle, oracle.catalog.n_leaves, scoring, excluded)[:k]


def play(
    oracle: Oracle,
    request: SearchRequest,
    scoring: Scoring,
    *,
    limit: int = 10_000,
    memory: Memory | None = None,
    offer: Callable[[Search], None] = lambda search: None,
) -> tuple[Search, int]:
    """Run a search against the oracle. Returns it, and how many passes it took."""
    budget, memory = Budget(PassCurve([1, 2048], [1e6, 1e7]), Coverage()), memory or Memory(oracle.catalog)
    search = Search(oracle.catalog, request, scoring, limit)
    passes = 0
    while search.answer is None:
        assert passes < 1000
        offer(search)
        nodes = search.rows(budget, memory, Load())
        assert len(nodes)
        assert len(nodes) <= limit
        frontier, values = search.tree.frontier(nodes), oracle.answer(nodes, scoring)
        search.learn(budget, memory, frontier, values, search.settle(frontier, values))
        passes += 1
    return search, passes
