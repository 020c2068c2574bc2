"""Training sequences: user histories as token rows, cut to the length that is served, and their batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sidebeam.training.histories import History

UNLABELLED = -100  # what torch's cross-entropy leaves out
POOL = 32  # batches that are sorted by length together


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive items of one user; those from `first_label` on are to be predicted."""

    items: tuple[int, ...]
    first_label: int


def training_windows(history: History, max_history: int) -> Iterator[Window]:
    """Cuts a user's training items so that each but the first is a label exactly once.

    A window holds at most `max_history` + 1 items. Later windows overlap by half, so that their labels
    have a history of about the length that is served.
    """
    items, longest = history.train, max_history + 1
    if len(items) < 2:
        return
    yield Window(items[:longest], 1)
    labelled, fresh = min(len(items), longest), max(1, longest // 2)
    while labelled < len(items):
        end = min(labelled + fresh, len(items))
        start = max(0, end - longest)
        yield Window(items[start:end], labelled - start)
        labelled = end


def training_samples(history: History, max_history: int) -> Iterator[Window]:
    """Each of a user's training items but the first as the only label of a window, as prompts with words need it."""
    items = history.train
    for at in range(1, len(items)):
        first = max(0, at - max_history)
        yield Window(items[first : at + 1], at - first)


def validation_windows(history: History, max_history: int) -> Iterator[Window]:
    """The user's validation items as labels, each after at most `max_history` earlier ones."""
    seen = history.train
    for item in history.valid:
        if seen:
            recent = seen[-max_history:]
            yield Window((*recent, item), len(recent))
        seen = (*seen, item)


def batches_by_length(lengths: npt.NDArray[np.int64], batch_size: int, random: np.random.Generator) -> list[list[int]]:
    """Every index of `lengths` once, shuffled, with similar lengths in one batch."""
    order = random.permutation(len(lengths))
    pools = [order[at : at + POOL * batch_size] for at in range(0, len(order), POOL * batch_size)]
    ordered = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    batches = [ordered[at : at + batch_size].tolist() for at in range(0, len(ordered), batch_size)]
    return [batches[index] for index in random.permutation(len(batches))]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one length: input tokens [B, T] and the labels that follow them [B, T]."""

    tokens: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        return Batch(self.tokens.to(device), self.labels.to(device))


class Sequences:
    """Windows as token rows: `start` tokens and all items' SIDs.

    With `prompts`, a row is instead the prompt for a window's history, then the SID of its one label, the last item.
    `label_all` labels every token and not only those of labels. `shuffle` is the share of windows whose items come in
    a new order each time: what goes together in a history is known better than what came first.
    """

    def __init__(
        self,
        windows: Sequence[Window],
        sids: npt.NDArray[np.int64],
        start: Sequence[int],
        *,
        prompts: Callable[[Sequence[int]], Sequence[int]] | None = None,
        label_all: bool = False,
        shuffle: float = 0.0,
    ) -> None:
        self._windows = windows
        self._sids = sids  # [items, L]
        self._start = np.array(start, dtype=np.int64)
        self._prompts = prompts
        self._label_all = label_all
        self._shuffle = shuffle

    def __len__(self) -> int:
        return len(self._windows)

    def batches(self, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
        """Every window's index once: shuffled by seed and epoch, windows of similar length in one batch."""
        lengths = np.array([len(window.items) for window in self._windows], dtype=np.int64)
        return batches_by_length(lengths, batch_size, np.random.default_rng([seed, epoch]))

    def collate(self, indices: Sequence[int]) -> Batch:
        """The windows of these indices. Rows are padded on the right, where causal attention never looks.

        Orders are drawn from torch's random numbers.
        """
        found = [self._row(self._ordered(self._windows[index])) for index in indices]
        width = max(len(tokens) for tokens, _ in found)
        rows = np.zeros((len(found), width), dtype=np.int64)
        labels = np.full_like(rows, UNLABELLED)
        for row, label, (tokens, first) in zip(rows, labels, found, strict=True):
            row[: len(tokens)] = tokens
            label[first : len(tokens)] = tokens[first:]
        return Batch(torch.from_numpy(rows[:, :-1].copy()), torch.from_numpy(labels[:, 1:].copy()))

    def _ordered(self, window: Window) -> Window:
        if not self._shuffle or torch.rand(()) >= self._shuffle:
            return window
        return Window(tuple(window.items[at] for at in torch.randperm(len(window.items)).tolist()), window.first_label)

    def _row(self, window: Window) -> tuple[npt.NDArray[np.int64], int]:
        """A window's tokens, and the place of the first labelled one."""
        if self._prompts is None:
            head, tail = self._start, self._sids[list(window.items)].ravel()
            first = len(head) + self._sids.shape[1] * window.first_label
        else:
            head = np.array(self._prompts(window.items[: window.first_label]), dtype=np.int64)
            tail, first = self._sids[window.items[-1]], len(head)
        return np.concatenate([head, tail]), 0 if self._label_all else first
