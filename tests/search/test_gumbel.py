"""Relaxed verification draws what plain sampling from the target draws: the same items, the same frequencies."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from sidebeam.catalog import Catalog
from sidebeam.search import DraftSettings, DraftTree, Memory, Sampling, SearchRequest, Width
from sidebeam.search.gumbel import keys, noise
from sidebeam.search.request import Scoring

from .oracle import Oracle, play

DRAWS = 20_000
PROMPT = np.array([1])


def small_catalog(seed: int) -> Catalog:
    """8 to 14 items below 3 or 4 first tokens."""
    random = np.random.default_rng(seed)
    rows = {(int(a), 10 + int(b), 20 + int(c)) for a, b, c in random.integers(0, [4, 3, 3], size=(16, 3))}
    return Catalog.build([str(i) for i in range(len(rows))], [list(row) for row in sorted(rows)])


def plain_draw(oracle: Oracle, k: int, sampling: Sampling, scoring: Scoring, random: np.random.Generator) -> set[int]:
    """Sampling beam search by the book: NumPy draws without replacement, one after the other."""
    beams = [(0, 0.0)]
    for _ in range(oracle.catalog.depth):
        grown = [(c, s + lp) for node, s in beams for c, lp in oracle.children(node, scoring, lambda _: True)]
        grown.sort(key=lambda candidate: -candidate[1])
        grown = grown[: sampling.top_k or None]
        scores = np.array([score for _, score in grown]) / sampling.temperature
        weights = np.exp(scores - scores.max())
        size = min(k, len(grown))
        chosen = random.choice(len(grown), size, replace=False, p=weights / weights.sum())
        beams = [grown[i] for i in chosen]
    return {int(oracle.catalog.node_leaf(np.array([node]))[0]) for node, _ in beams}


def drawn(oracle: Oracle, k: int, sampling: Sampling, scoring: Scoring = "raw", **request: object) -> list[int]:
    settings = {"draft": DraftSettings("off"), **request}
    search, _ = play(oracle, SearchRequest(PROMPT, k, sampling=sampling, **settings), scoring)  # type: ignore[arg-type]
    assert search.answer is not None
    assert (np.diff(search.answer.log_probs) <= 0).all()
    return oracle.catalog.node_leaf(search.answer.nodes).tolist()  # type: ignore[no-any-return]


def chi_square_limit(cells: int) -> float:
    """What a chi-square of so many cells passes once in about 30,000 tries (Wilson and Hilferty)."""
    return float(cells * (1 - 2 / (9 * cells) + 4 * np.sqrt(2 / (9 * cells))) ** 3)


@pytest.mark.parametrize("draws", [2_000, pytest.param(DRAWS, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("seed", "k", "sampling", "scoring"),
    [
        (1, 3, Sampling(1.0), "raw"),
        (2, 2, Sampling(2.5), "raw"),
        (3, 3, Sampling(1.0), "catalog"),
        (4, 2, Sampling(0.7, top_k=3), "raw"),
    ],
)
def test_inclusion_frequencies_are_those_of_plain_sampling(
    seed: int, k: int, sampling: Sampling, scoring: Scoring, draws: int
) -> None:
    oracle = Oracle(small_catalog(seed), seed, peaked=1.0)
    random = np.random.default_rng(seed)
    counts = np.zeros((2, oracle.catalog.n_leaves))
    for draw in range(draws):
        counts[0, drawn(oracle, k, Sampling(sampling.temperature, sampling.top_k, draw), scoring)] += 1
        counts[1, list(plain_draw(oracle, k, sampling, scoring, random))] += 1
    seen = counts.sum(axis=0) > draws // 1000
    ours, plain = counts[:, seen]
    assert seen.sum() > 3
    chi_square = ((ours - plain) ** 2 / (ours + plain)).sum()
    assert chi_square < chi_square_limit(int(seen.sum()))


def test_a_draw_of_k_has_the_probability_of_its_orders() -> None:
    log_probs = np.log(np.array([0.5, 0.2, 0.2, 0.06, 0.04], np.float32))
    p, k = np.exp(log_probs), 2
    wanted = {
        frozenset(pair): sum(p[a] * p[b] / (1 - p[a]) for a, b in permutations(pair))
        for pair in ({0, 1}, {0, 2}, {0, 3}, {0, 4}, {1, 2}, {1, 3}, {1, 4}, {2, 3}, {2, 4}, {3, 4})
    }
    counts = dict.fromkeys(wanted, 0)
    for seed in range(DRAWS):
        counts[frozenset(np.argsort(-keys(Sampling(seed=seed), np.arange(7, 12), log_probs))[:k].tolist())] += 1
    chi_square = sum((counts[pair] - DRAWS * w) ** 2 / (DRAWS * w) for pair, w in wanted.items())
    assert chi_square < chi_square_limit(len(wanted) - 1)


def test_noise_is_gumbel_and_independent_over_nodes_and_seeds() -> None:
    nodes = np.arange(50_000)
    first, second = noise(1, nodes), noise(2, nodes)
    assert noise(1, nodes[77:79]).tolist() == first[77:79].tolist()
    for values in (first, noise(2**32 - 1, nodes), np.array([noise(seed, nodes[5:6])[0] for seed in range(20_000)])):
        uniform = np.sort(np.exp(-np.exp(-values)))
        steps = np.arange(1, len(uniform) + 1) / len(uniform)
        assert np.abs(uniform - steps).max() < 1.95 / np.sqrt(len(uniform))  # Kolmogorov and Smirnov, 1 in 1,000
    for other in (second, np.roll(first, 1)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.02


@pytest.mark.parametrize("scoring", ["raw", "catalog"])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_no_draft_changes_a_draw(temperature: float, scoring: Scoring) -> None:
    for seed in range(12):
        oracle = Oracle(small_catalog(seed), seed)
        sampling = Sampling(temperature, seed=seed)
        wanted = drawn(oracle, 3, sampling, scoring)
        random = np.random.default_rng(seed)
        inner = np.arange(1, oracle.catalog.trie.level[-2])
        some = np.sort(random.choice(inner, len(inner) // 2, replace=False))
        tree = DraftTree(some, random.normal(size=len(some)).astype(np.float32))
        explicit = DraftSettings("explicit", "model", 99, 3)
        assert drawn(oracle, 3, sampling, scoring, draft=explicit, tree=tree) == wanted
        assert drawn(oracle, 3, sampling, scoring, draft=DraftSettings("explicit", "catalog")) == wanted
        memory = Memory(oracle.catalog)
        for _ in range(4):
            search, _ = play(oracle, SearchRequest(PROMPT, 3, sampling=sampling), scoring, memory=memory)
            assert oracle.catalog.node_leaf(search.answer.nodes).tolist() == wanted  # type: ignore[union-attr]


def perfect_draft(oracle: Oracle, width: Width, scoring: Scoring) -> DraftTree:
    """What a draft proposes that is the target."""
    nodes, scores = np.array([0]), np.zeros(1, np.float32)
    levels = []
    for _ in range(oracle.catalog.depth - 1):
        first, end = oracle.catalog.trie.children(nodes)
        children = np.concatenate([np.arange(a, b) for a, b in zip(first, end, strict=True)])
        edges = [dict(oracle.children(node, scoring, lambda _: True)) for node in nodes.tolist()]
        sums = np.array([scores[i] + lp for i, edge in enumerate(edges) for _, lp in sorted(edge.items())], np.float32)
        chosen = width.best(children, sums, int((end - first)[: width.top_k].sum()))
        nodes, scores = children[chosen], sums[chosen]
        levels.append((nodes, scores))
    return DraftTree(np.concatenate([n for n, _ in levels]), np.concatenate([s for _, s in levels]))


@pytest.mark.parametrize("beams", [3, 4, 6])
@pytest.mark.parametrize("sampling", [None, Sampling(0.5), Sampling(1.0), Sampling(3.0)])
def test_a_draft_that_is_the_target_is_accepted_at_every_level(sampling: Sampling | None, beams: int) -> None:
    for seed in range(40):
        oracle = Oracle(small_catalog(seed), seed)
        own = None if sampling is None else Sampling(sampling.temperature, seed=seed)
        tree = perfect_draft(oracle, Width(beams, 3, own), "raw")
        explicit = DraftSettings("explicit", "model", beams, 3)
        request = SearchRequest(PROMPT, 3, draft=explicit, tree=tree, sampling=own)
        assert play(oracle, request, "raw")[1] == 1


def test_peaked_and_narrow_distributions_end_and_stay_in_the_catalog() -> None:
    one = Catalog.build(["only"], [[1, 2, 3]])
    assert drawn(Oracle(one, 0), 5, Sampling(1.0)) == [0]
    for seed in range(10):
        oracle = Oracle(small_catalog(seed), seed, peaked=1e4)  # log-probs of minus some ten thousand
        for sampling in (Sampling(1e-3, seed=seed), Sampling(1e3, seed=seed), Sampling(1.0, top_k=5, seed=seed)):
            leaves = drawn(oracle, 5, sampling)
            assert len(set(leaves)) == len(leaves) > 0
            assert all(0 <= leaf < oracle.catalog.n_leaves for leaf in leaves)
        excluded = np.arange(oracle.catalog.n_leaves - 1)
        assert drawn(oracle, 3, Sampling(seed=seed), excluded=excluded) == [oracle.catalog.n_leaves - 1]


def test_a_low_temperature_is_strict_verification() -> None:
    for seed in range(10):
        oracle = Oracle(small_catalog(seed), seed)
        strict, _ = play(oracle, SearchRequest(PROMPT, 4, draft=DraftSettings("off")), "raw")
        wanted = oracle.catalog.node_leaf(strict.answer.nodes).tolist()  # type: ignore[union-attr]
        assert drawn(oracle, 4, Sampling(1e-4, seed=seed)) == wanted
        assert drawn(oracle, 4, Sampling(50.0, top_k=4, seed=seed)) == wanted


def accepted_by_coins(p: np.ndarray, q: np.ndarray, k: int, n: int, random: np.random.Generator) -> bool:
    """Algorithm 2 made sound: drafts are drawn without replacement from q and accepted by coins, one target draw after
    the other; after a rejection the target draws from the residual. True if n drafts bring k draws."""
    drafts = np.argsort(-(np.log(q) + random.gumbel(size=len(q))))[:n]
    left, undrafted, draws = p.copy(), q.copy(), 0
    current = left / left.sum()
    for draft in drafts:
        proposal = undrafted / undrafted.sum()
        if random.random() < min(1.0, current[draft] / proposal[draft]):
            left[draft] = 0.0
            current, draws = left / left.sum(), draws + 1
        else:
            residual = np.maximum(current - proposal, 0.0)
            current = residual / residual.sum()
        undrafted[draft] = 0.0
    return draws >= k


def test_shared_noise_accepts_more_than_coins_and_more_than_strict_verification() -> None:
    random = np.random.default_rng(0)
    k, n, nodes, tries = 20, 40, np.arange(91), 300
    coins = shared = strict = 0
    for seed in range(tries):
        log_p = random.normal(size=91) * 1.3
        log_q = log_p + random.normal(size=91) * 0.5
        p, q = (np.exp(x) / np.exp(x).sum() for x in (log_p, log_q))
        coins += accepted_by_coins(p, q, k, n, random)
        for sampling in (Sampling(seed=seed), None):
            target, draft = (np.argsort(-keys(sampling, nodes, x.astype(np.float32))) for x in (log_p, log_q))
            accepted = np.isin(target[:k], draft[:n]).all()
            shared, strict = (shared + accepted, strict) if sampling else (shared, strict + accepted)
    assert shared > strict > coins
    assert shared > 0.85 * tries
    assert coins < 0.5 * tries
