"""LightGCN: its propagation against dense algebra, its learning against tastes that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sidebeam.grouping import GroupingError, UserLog
from sidebeam.grouping.bipartite import Bipartite
from sidebeam.grouping.collaborative import collaborative_groups
from sidebeam.grouping.light_gcn import LightGcnRecipe, _Run, train_light_gcn

RECIPE = LightGcnRecipe(dim=8, epochs=25, learning_rate=2e-2)


def test_propagation_is_the_mean_of_the_layers(logs: list[UserLog]) -> None:
    graph = Bipartite.of(logs)
    run = _Run(graph, graph.edges, replace(RECIPE, layers=3))
    nodes = len(graph.users) + len(graph.items)
    dense = np.zeros((nodes, nodes))
    for user, item in graph.edges:
        dense[user, len(graph.users) + item] = dense[len(graph.users) + item, user] = 1
    degree = dense.sum(axis=1)
    dense /= np.sqrt(np.outer(degree, degree))
    layers = [run.weights.detach().double().numpy()]
    for _ in range(3):
        layers.append(dense @ layers[-1])
    found = run.propagated(run.whole).detach().numpy()
    assert np.allclose(found, np.mean(layers, axis=0), atol=1e-5)


def test_held_out_edges_are_not_trained_on_and_nobody_is_left_bare(logs: list[UserLog]) -> None:
    graph = Bipartite.of(logs)
    train, valid = graph.split(0.3, np.random.default_rng(0))
    assert len(valid) == round(0.3 * len(graph.edges))
    both = {tuple(edge) for edge in train.tolist()} | {tuple(edge) for edge in valid.tolist()}
    assert both == {tuple(edge) for edge in graph.edges.tolist()}
    assert set(train[:, 0]) == set(range(len(graph.users)))
    assert set(train[:, 1]) == set(range(len(graph.items)))


def test_negatives_are_unseen_and_even() -> None:
    graph = Bipartite.of([UserLog("a", ("x", "y")), UserLog("b", ("x", "y", "z", "v", "w"))])
    drawn = graph.unseen(np.repeat([0, 1], [3000, 3]), np.random.default_rng(0))
    assert (drawn[3000:] == -1).all()  # b has everything
    counts = np.bincount(drawn[:3000], minlength=5)
    assert counts[:2].tolist() == [0, 0]
    assert (abs(counts[2:] - 1000) < 120).all()


def test_tastes_are_found_again(logs: list[UserLog]) -> None:
    trained = train_light_gcn(Bipartite.of(logs), RECIPE)
    assert trained.valid_loss < 0.55  # chance: 0.693
    for kind, truth in (("users", lambda i: int(i[1:]) % 2), ("items", lambda i: int(i[1:]) >= 12)):
        embeddings = trained.embeddings(kind)  # type: ignore[arg-type]
        groups = collaborative_groups(embeddings, 2)
        agreement = np.mean([(groups[each] == "near 0") == bool(truth(each)) for each in embeddings.ids])
        assert max(agreement, 1 - agreement) > 0.9


def test_a_seed_decides_everything(logs: list[UserLog]) -> None:
    graph = Bipartite.of(logs)
    recipe = replace(RECIPE, epochs=2)
    first, again = train_light_gcn(graph, recipe), train_light_gcn(graph, recipe)
    assert torch.equal(first.vectors, again.vectors)
    assert not torch.equal(first.vectors, train_light_gcn(graph, replace(recipe, seed=1)).vectors)


def test_training_ends_without_gain_and_keeps_the_best(logs: list[UserLog]) -> None:
    trained = train_light_gcn(Bipartite.of(logs), replace(RECIPE, epochs=200, patience=2, learning_rate=0.3))
    assert trained.epochs < 200
    shorter = train_light_gcn(
        Bipartite.of(logs), replace(RECIPE, epochs=trained.epochs - 2, patience=200, learning_rate=0.3)
    )
    assert torch.equal(trained.vectors, shorter.vectors)  # those of two epochs before the end


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dim": 0}, "--dim must be at least 1; given 0"),
        ({"layers": -1}, "--layers must be at least 0"),
        ({"learning_rate": float("nan")}, "--lr must be above 0; given nan"),
        ({"keep": 0.0}, "--keep must be above 0"),
        ({"patience": 0}, "--patience must be at least 1"),
    ],
)
def test_bad_recipes(changes: dict[str, float], says: str) -> None:
    with pytest.raises(GroupingError, match=says):
        LightGcnRecipe(**changes)  # type: ignore[arg-type]


def test_interactions_that_teach_nothing() -> None:
    with pytest.raises(GroupingError, match="must hold at least 2 users with interactions; there are 1"):
        Bipartite.of([UserLog("a", ("x", "y")), UserLog("b", ())])
    with pytest.raises(GroupingError, match="must hold at least 2 items with interactions; there are 1"):
        Bipartite.of([UserLog("a", ("x",)), UserLog("b", ("x",))])
    with pytest.raises(GroupingError, match="must leave something to validate with"):
        train_light_gcn(Bipartite.of([UserLog("a", ("x",)), UserLog("b", ("y",))]), RECIPE)
