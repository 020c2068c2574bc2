"""Embeddings from interactions alone: LightGCN, trained to rank what a user did above what they did not (BPR)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sidebeam.grouping.bipartite import Bipartite, Ints
from sidebeam.grouping.embeddings import Embeddings
from sidebeam.grouping.error import GroupingError
from sidebeam.grouping.interactions import Kind

if TYPE_CHECKING:
    from sidebeam.training.progress import ProgressBar

VALID_SHARE = 0.1
VALID_NEGATIVES = 10  # per held-out edge, drawn once, so that epochs can be compared
INITIAL = 0.1  # standard deviation of the first embeddings
STEPS_PER_EPOCH = 16  # at least: few interactions are cut into smaller batches


@dataclass(frozen=True, slots=True)
class LightGcnRecipe:
    """The reference's settings (LASER, 4.1.4), but for a larger rate and an upper bound on epochs.

    Training ends after `patience` epochs without a better loss on the held-out interactions. Raises `GroupingError`
    naming the option, the value and its limit.
    """

    dim: int = 32
    layers: int = 3
    learning_rate: float = 5e-3
    batch_size: int = 4096
    keep: float = 0.8  # share of the edges that a step propagates over
    decay: float = 1e-6
    epochs: int = 100
    patience: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("dim", 1), ("layers", 0), ("batch_size", 1), ("epochs", 1), ("patience", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise GroupingError(f"--{name.replace('_', '-')} must be at least {least}; given {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise GroupingError(f"--lr must be above 0; given {self.learning_rate}")
        if not 0 < self.keep <= 1:
            raise GroupingError(f"--keep must be above 0 and at most 1; given {self.keep}")
        if not 0 <= self.decay < math.inf:
            raise GroupingError(f"--decay must be at least 0; given {self.decay}")


@dataclass(frozen=True, slots=True)
class LightGcn:
    """Trained vectors of users, then items.  # [U + I, dim]"""

    graph: Bipartite
    vectors: Tensor
    valid_loss: float
    epochs: int

    def embeddings(self, kind: Kind) -> Embeddings:
        """Those of the users or of the items."""
        first = len(self.graph.users)
        ids, rows = (self.graph.users, slice(first)) if kind == "users" else (self.graph.items, slice(first, None))
        return Embeddings(ids, self.vectors[rows].numpy())


def train_light_gcn(graph: Bipartite, recipe: LightGcnRecipe, bar: ProgressBar | None = None) -> LightGcn:
    """Trains on nine tenths of the interactions and keeps the epoch that is best on the others; a seed decides all.

    Raises `GroupingError` where no interaction can be held out.
    """
    random = np.random.default_rng([recipe.seed, 0])
    train, valid = graph.split(VALID_SHARE, random)
    judged = np.repeat(valid, VALID_NEGATIVES, axis=0)
    negatives = graph.unseen(judged[:, 0], random)
    judged, negatives = judged[negatives >= 0], negatives[negatives >= 0]
    if not len(judged):
        raise GroupingError(
            "--interactions must leave something to validate with: users with two items, one of which others have, "
            "and items that a user does not have; bring --embeddings instead"
        )
    run = _Run(graph, train, recipe)
    if bar is not None:
        bar.begin("LightGCN", recipe.epochs * len(run.batches(0)))
    best_loss, best_epoch, best = math.inf, 0, run.weights.detach().clone()
    epoch = 0
    while epoch < recipe.epochs and epoch - best_epoch < recipe.patience:
        losses = [run.step(batch) for batch in run.batches(epoch)]
        epoch += 1
        with torch.no_grad():
            loss = float(_bpr(run.propagated(run.whole), judged, negatives, len(graph.users)))
        if not math.isfinite(loss):
            raise GroupingError(f"epoch {epoch}: the validation loss is {loss}; a lower --lr may help")
        if loss < best_loss:
            best_loss, best_epoch, best = loss, epoch, run.weights.detach().clone()
        if bar is not None:
            bar.advance(len(losses), "steps/s")
    if bar is not None:
        bar.note(f"LightGCN: epoch {best_epoch} of {epoch} is the best, validation {best_loss:.4f}")
    run.weights.data.copy_(best)
    with torch.no_grad():
        return LightGcn(graph, run.propagated(run.whole), best_loss, epoch)


class _Run:
    """One training: weights, optimizer and the graph that it propagates over."""

    def __init__(self, graph: Bipartite, train: Ints, recipe: LightGcnRecipe) -> None:
        self._graph, self._train, self._recipe = graph, train, recipe
        self._nodes = len(graph.users) + len(graph.items)
        noise = torch.Generator().manual_seed(recipe.seed)
        self.weights = torch.nn.Parameter(INITIAL * torch.randn(self._nodes, recipe.dim, generator=noise))
        self._optimizer = torch.optim.Adam([self.weights], lr=recipe.learning_rate)
        self._random = np.random.default_rng([recipe.seed, 1])
        ends = torch.from_numpy(train) + torch.tensor([0, len(graph.users)])  # [E, 2] nodes
        degree = torch.bincount(ends.flatten(), minlength=self._nodes).clamp(min=1).float()
        both = torch.cat([ends.T, ends.T.flip(0)], dim=1)  # [2, 2E]
        order = torch.argsort(both[0] * self._nodes + both[1])  # sorted once, so that no step has to
        self._ends, self._edge = both[:, order], order % len(train)
        self._norm = degree[self._ends].prod(dim=0).rsqrt()  # [2E] 1 / sqrt(degree of both ends)
        self.whole = self._adjacency(torch.ones(len(train), dtype=torch.bool), 1.0)

    def batches(self, epoch: int) -> list[Ints]:
        """Every training edge once, shuffled."""
        order = np.random.default_rng([self._recipe.seed, 2, epoch]).permutation(len(self._train))
        size = max(1, min(self._recipe.batch_size, len(order) // STEPS_PER_EPOCH))
        return [self._train[order[at : at + size]] for at in range(0, len(order), size)]

    def step(self, edges: Ints) -> float:
        negatives = self._graph.unseen(edges[:, 0], self._random)
        edges, negatives = edges[negatives >= 0], negatives[negatives >= 0]
        if not len(edges):
            return 0.0
        keep = self._recipe.keep
        kept = torch.from_numpy(self._random.random(len(self._train)) < keep)
        loss = _bpr(self.propagated(self._adjacency(kept, keep)), edges, negatives, len(self._graph.users))
        users = torch.from_numpy(edges[:, 0])
        items = torch.from_numpy(np.concatenate([edges[:, 1], negatives])) + len(self._graph.users)
        squares = self.weights[torch.cat([users, items])].square().sum() / len(edges)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss + self._recipe.decay * squares)
        self._optimizer.step()
        return float(loss.detach())

    def propagated(self, adjacency: Tensor) -> Tensor:
        """The mean over the layers of what neighbours pass on.  # [U + I, dim]"""
        layer: Tensor = self.weights
        total = layer
        for _ in range(self._recipe.layers):
            layer = torch.sparse.mm(adjacency, layer)
            total = total + layer
        return total / (self._recipe.layers + 1)

    def _adjacency(self, kept: Tensor, keep: float) -> Tensor:
        """The kept edges in both directions, the norms scaled up by what is missing."""
        both = kept[self._edge]
        size = (self._nodes, self._nodes)
        return torch.sparse_coo_tensor(
            self._ends[:, both], self._norm[both] / keep, size, is_coalesced=True, check_invariants=False
        )


def _bpr(vectors: Tensor, edges: Ints, negatives: Ints, users: int) -> Tensor:
    """Mean of -log sigmoid(how much more a user's item scores than another)."""
    user = vectors[torch.from_numpy(edges[:, 0])]
    item, other = (vectors[torch.from_numpy(side) + users] for side in (edges[:, 1], negatives))
    return -F.logsigmoid((user * (item - other)).sum(dim=1)).mean()
