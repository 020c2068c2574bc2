"""Memory ranks like the target that it listened to, and starts from what the prompt and the catalog say."""

from __future__ import annotations

import numpy as np

from sidebeam.catalog import ROOT, Catalog
from sidebeam.search import DraftSettings, Memory, SearchRequest, Width
from sidebeam.search.scored_tree import ScoredTree

from .oracle import Oracle, play

ROOT_ONLY, NO_SCORE = np.array([ROOT]), np.zeros(1, np.float32)


def catalog() -> Catalog:
    rows = [[a, 10 + b, 20 + c, 30] for a in range(1, 7) for b in range(a) for c in range(3)]
    return Catalog.build([str(i) for i in range(len(rows))], rows)


def names(catalog: Catalog, nodes: np.ndarray) -> list[list[int]]:
    return [catalog.path(np.array([node]))[0].tolist() for node in nodes]


def test_at_first_it_says_what_the_prompt_names_latest_first_and_the_larger_branches() -> None:
    items = catalog()
    memory = Memory(items)
    tastes = memory.read(np.array([99, 3, 10, 20, 30, 1, 10, 20, 30]))
    first, second, third = memory.propose(tastes, ROOT_ONLY, NO_SCORE, Width(2, 2), 9)
    assert names(items, first) == [[1], [3]]
    assert names(items, second)[0] == [1, 10]  # the only one below 1
    assert len(third) == 2
    nothing = memory.read(np.array([99]))
    assert len(nothing.roots) == 0
    assert len(memory.propose(nothing, ROOT_ONLY, NO_SCORE, Width(4, 1), 1)[0]) == 4
    below_six = items.trie.roots(np.array([6]))
    assert len(memory.propose(nothing, below_six, NO_SCORE, Width(99, 1), 1)[0]) == 6


def test_it_repeats_what_the_target_said() -> None:
    items = catalog()
    oracle = Oracle(items, 7)
    memory = Memory(items)
    request = SearchRequest(np.array([3, 10, 20, 30]), 3)
    for _ in range(40):
        search, _ = play(oracle, request, "raw", memory=memory)
    wanted = search._rule.wanted(search.tree)  # the beams of every depth
    depths = items.trie.depth_of(wanted)
    levels = memory.propose(memory.read(request.prompt), ROOT_ONLY, NO_SCORE, Width(3, 3), 3)
    assert [level.tolist() for level in levels] == [wanted[depths == depth].tolist() for depth in (1, 2, 3)]
    before = [mean.copy() for mean in (memory._mean, memory._habits)]
    play(oracle, SearchRequest(request.prompt, 3, draft=DraftSettings("off")), "raw", memory=memory)
    np.testing.assert_array_equal(memory._mean, before[0])  # who wants no drafts teaches nothing, and pays nothing
    np.testing.assert_array_equal(memory._habits, before[1])


def test_tastes_are_told_apart_by_the_prompt() -> None:
    items = catalog()
    memory = Memory(items)
    tree = ScoredTree(items, None)
    root = tree.frontier(ROOT_ONLY)
    prompts = [np.array([1, 10, 20, 30]), np.array([2, 10, 20, 30])]
    for i in range(400):  # after 1 people take 5, after 2 they take 4
        given = np.full(len(root.children), np.log(0.02), np.float32)
        given[4 if i % 2 == 0 else 3] = np.log(0.9)
        memory.learn(memory.read(prompts[i % 2]), root, given)
    assert names(items, memory.propose(memory.read(prompts[0]), ROOT_ONLY, NO_SCORE, Width(1, 1), 1)[0]) == [[5]]
    assert names(items, memory.propose(memory.read(prompts[1]), ROOT_ONLY, NO_SCORE, Width(1, 1), 1)[0]) == [[4]]


def test_what_it_has_learned_saves_passes_and_changes_nothing() -> None:
    items = catalog()
    oracle = Oracle(items, 3)
    memory = Memory(items)
    plain, passes = play(oracle, SearchRequest(np.array([5]), 2, draft=DraftSettings("off")), "catalog")
    for seed in range(5):
        drafted, _ = play(oracle, SearchRequest(np.array([seed, 5]), 2), "catalog", memory=memory)
        assert drafted.answer.nodes.tolist() == plain.answer.nodes.tolist()  # type: ignore[union-attr]
        np.testing.assert_array_equal(drafted.answer.log_probs, plain.answer.log_probs)  # type: ignore[union-attr]
    assert passes == 3  # the last token is forced
