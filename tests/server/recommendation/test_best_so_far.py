"""An answer before its time: against a plain statement of what is known about each leaf."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from sidebeam.catalog import Catalog
from sidebeam.server.recommendation.best_so_far import BestSoFar

LENGTH = 3


def random_catalog(rng: np.random.Generator) -> Catalog:
    sids = rng.integers(0, 5, (60, LENGTH)) + 10 * np.arange(LENGTH)
    return Catalog.build([str(i) for i in range(len(sids))], sids)


def prefixes(catalog: Catalog, leaf: int) -> list[int]:
    return catalog.trie.paths(catalog.leaf_node(np.array([leaf])))[0].tolist()


@pytest.mark.parametrize("seed", range(60))
def test_leaves_are_ordered_by_what_is_known_of_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    catalog = random_catalog(rng)
    leaves = list(range(catalog.n_leaves))
    paths = {leaf: prefixes(catalog, leaf) for leaf in leaves}
    dead = np.sort(rng.choice(catalog.n_leaves, seed % 7, replace=False))
    drafted = {node: -rng.exponential() for leaf in rng.choice(leaves, seed % 9) for node in paths[int(leaf)]}
    for path in paths.values():  # a draft's log-probs fall on the way down
        for above, below in itertools.pairwise(path):
            if below in drafted and above in drafted:
                drafted[below] = min(drafted[below], drafted[above])
    beams: list[dict[int, float]] = []
    alive = leaves
    for depth in range(seed % LENGTH + 1 if seed % 4 else 0):
        if depth == LENGTH:
            break
        nodes = sorted({paths[leaf][depth] for leaf in alive})
        beams.append({int(node): -rng.exponential() for node in rng.permutation(nodes)[:3]})
        alive = [leaf for leaf in alive if paths[leaf][depth] in beams[-1]]

    def known(leaf: int) -> tuple[int, float] | None:
        """(verified, log-prob), None: there is no reason to name this leaf."""
        path = paths[leaf]
        depth = 0
        while depth < len(beams) and path[depth] in beams[depth]:
            depth += 1
        scores = []
        if path[-1] in drafted:
            start = beams[depth - 1][path[depth - 1]] if depth else 0.0
            scores.append(start + drafted[path[-1]] - (drafted[path[depth - 1]] if depth else 0.0))
        if beams and depth == len(beams):
            share = sum(paths[other][depth - 1] == path[depth - 1] for other in leaves)
            scores.append(beams[-1][path[depth - 1]] - math.log(share))
        return (depth, max(scores)) if scores else None

    so_far = BestSoFar(catalog)
    assert so_far.is_empty
    for depth, level in enumerate(beams, start=1):
        so_far.accept(depth, np.array(list(level)), np.array(list(level.values())))
        so_far.accept(depth, np.array([0]), np.array([0.0]))  # a replayed search says the same again
    so_far.draft(np.array(list(drafted), np.int64), np.array(list(drafted.values())))
    assert so_far.is_empty == (not beams and not drafted)
    wanted = {leaf: found for leaf in leaves if leaf not in dead and (found := known(leaf)) is not None}
    best = so_far.complete(dead, 10)
    assert len(best.leaves) == len(set(best.leaves.tolist())) == min(10, len(wanted))
    for leaf, log_prob, verified in zip(best.leaves.tolist(), best.log_probs, best.verified.tolist(), strict=True):
        assert verified == wanted[leaf][0]
        assert log_prob == pytest.approx(wanted[leaf][1])
    keys = sorted(((-verified, -score) for verified, score in wanted.values()))[: len(best.leaves)]
    got = list(zip((-best.verified).tolist(), (-best.log_probs).tolist(), strict=True))
    assert got == [(verified, pytest.approx(score)) for verified, score in keys]


def test_a_leaf_drafted_without_its_prefix_stands_where_the_beam_does() -> None:
    catalog = random_catalog(np.random.default_rng(0))
    path = prefixes(catalog, 7)
    so_far = BestSoFar(catalog)
    so_far.accept(1, np.array(path[:1]), np.array([-2.0]))
    so_far.draft(np.array(path[-1:]), np.array([-9.0]))
    best = so_far.complete(np.zeros(0, np.int64), 1)
    assert best.leaves.tolist() == [7]
    assert best.verified.tolist() == [1]
    assert best.log_probs.tolist() == [-2.0]
