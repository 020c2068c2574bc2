"""One training of the click model: early stop and choice of the epoch on validation users, one look at the test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from sidebeam.downstream.din import Din
from sidebeam.downstream.error import DownstreamError
from sidebeam.downstream.features import TextFeatures
from sidebeam.downstream.samples import Samples, Split
from sidebeam.downstream.scores import Floats, auc, log_loss

AT_ONCE = 4096  # samples that are judged in one pass
AVERAGING = 0.99  # judged are weights averaged over about a hundred steps: a single step's are a matter of luck


@dataclass(frozen=True, slots=True)
class ClickRecipe:
    """How the click model is trained. Raises `DownstreamError` naming the option, the value and its limit."""

    dim: int = 32
    epochs: int = 20
    patience: int = 3
    batch_size: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        for name in ("dim", "epochs", "patience", "batch_size"):
            if getattr(self, name) < 1:
                raise DownstreamError(f"--{name.replace('_', '-')} must be at least 1; given {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise DownstreamError(f"--lr must be above 0; given {self.learning_rate}")
        if not 0 <= self.weight_decay < math.inf:
            raise DownstreamError(f"--weight-decay must be at least 0; given {self.weight_decay}")


@dataclass(frozen=True, slots=True)
class Score:
    """Of the test users, at the epoch that was best on the validation users."""

    auc: float
    log_loss: float
    valid_log_loss: float
    epoch: int  # counts from 1


def run_trial(split: Split, items: int, texts: TextFeatures, recipe: ClickRecipe, seed: int) -> Score:
    """Trains until validation log loss gains nothing for `patience` epochs; a seed decides all.

    Raises `DownstreamError` at predictions that are not finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Din(items, recipe.dim, texts)
        averaged = AveragedModel(model, multi_avg_fn=_average)
        optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        best, best_epoch = math.inf, 0
        kept: dict[str, torch.Tensor] = {}
        epoch = 0
        while epoch < recipe.epochs and epoch - best_epoch < recipe.patience:
            _train_epoch(
                model, averaged, optimizer, split.train, recipe.batch_size, np.random.default_rng([seed, 1, epoch])
            )
            epoch += 1
            logits = _logits(averaged.module, split.valid)
            if not np.isfinite(logits).all():
                raise DownstreamError(f"epoch {epoch}: predictions are not finite; a lower --lr may help")
            loss = log_loss(split.valid.labels, logits)
            if loss < best:
                best, best_epoch = loss, epoch
                kept = {name: weight.clone() for name, weight in averaged.module.state_dict().items()}
        model.load_state_dict(kept)
        logits = _logits(model, split.test)
        return Score(auc(split.test.labels, logits), log_loss(split.test.labels, logits), best, best_epoch)


@torch.no_grad()
def _average(averaged: Sequence[torch.Tensor], current: Sequence[torch.Tensor], steps: torch.Tensor | int) -> None:
    """An exponential moving average, over fewer steps at first."""
    share = max(1 - AVERAGING, 9 / (10 + float(steps)))
    for mean, weight in zip(averaged, current, strict=True):
        mean.lerp_(weight, share)


def _train_epoch(
    model: Din,
    averaged: AveragedModel,
    optimizer: torch.optim.Optimizer,
    samples: Samples,
    size: int,
    random: np.random.Generator,
) -> None:
    model.train()
    order = random.permutation(len(samples))
    for at in range(0, len(order), size):
        rows = order[at : at + size]
        users, histories, targets = (
            torch.from_numpy(column[rows]) for column in (samples.users, samples.histories, samples.targets)
        )
        labels = torch.from_numpy(samples.labels[rows]).float()
        loss = F.binary_cross_entropy_with_logits(model(users, histories, targets), labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        averaged.update_parameters(model)


@torch.no_grad()
def _logits(model: nn.Module, samples: Samples) -> Floats:
    model.eval()
    found = []
    for at in range(0, len(samples), AT_ONCE):
        rows = slice(at, at + AT_ONCE)
        columns = (samples.users[rows], samples.histories[rows], samples.targets[rows])
        found.append(model(*map(torch.from_numpy, columns)).double().numpy())
    logits: Floats = np.concatenate(found)
    return logits
