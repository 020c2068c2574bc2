"""Windows and batches: every item but the first is a label once, with the history that serving would give it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from sidebeam.training import History
from sidebeam.training.sequences import (
    UNLABELLED,
    Sequences,
    Window,
    training_samples,
    training_windows,
    validation_windows,
)

SIDS = np.array([[3, 5], [4, 6], [3, 6]])


def _history(length: int) -> History:
    return History("u", tuple(range(length)), (length, length + 1), ())


@pytest.mark.parametrize("max_history", [1, 2, 7, 20])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 20, 21, 22, 31, 32, 100])
def test_every_item_but_the_first_is_a_label_once(length: int, max_history: int) -> None:
    windows = list(training_windows(_history(length), max_history))
    labels = [item for window in windows for item in window.items[window.first_label :]]
    assert labels == list(range(1, length))
    assert all(2 <= len(window.items) <= max_history + 1 for window in windows)
    assert all(window.items == tuple(range(window.items[0], window.items[-1] + 1)) for window in windows)
    # Labels of later windows have about half of the longest history before them, at least.
    assert all(window.first_label >= (max_history + 1) // 2 for window in windows[1:])


@pytest.mark.parametrize("max_history", [1, 2, 7, 20])
@pytest.mark.parametrize("length", [0, 1, 2, 21, 32])
def test_samples_have_one_label_after_the_latest_items(length: int, max_history: int) -> None:
    samples = list(training_samples(_history(length), max_history))
    assert [sample.items[-1] for sample in samples] == list(range(1, length))
    for label, sample in enumerate(samples, start=1):
        assert sample.items == tuple(range(max(0, label - max_history), label + 1))
        assert sample.first_label == len(sample.items) - 1


def test_validation_follows_the_latest_items() -> None:
    first, second = validation_windows(_history(5), max_history=3)
    assert (first.items, first.first_label) == ((2, 3, 4, 5), 3)
    assert (second.items, second.first_label) == ((3, 4, 5, 6), 3)
    assert list(validation_windows(History("u", (), (1,), ()), 3)) == []


def test_rows_are_shifted_padded_and_labelled() -> None:
    rows = Sequences([Window((0, 1, 2), 2), Window((1, 0), 1)], SIDS, start=(1,))
    batch = rows.collate([0, 1])
    no = UNLABELLED
    assert torch.equal(batch.tokens, torch.tensor([[1, 3, 5, 4, 6, 3], [1, 4, 6, 3, 5, 0]]))
    assert torch.equal(batch.labels, torch.tensor([[no, no, no, no, 3, 6], [no, no, 3, 5, no, no]]))


def test_rows_with_prompts_are_prompt_and_label() -> None:
    def prompts(items: Sequence[int]) -> list[int]:
        return [1, *(10 + item for item in items), 9]

    windows = [Window((0, 1, 2), 2), Window((1, 0), 1)]
    batch = Sequences(windows, SIDS, start=(1,), prompts=prompts).collate([0, 1])
    no = UNLABELLED
    assert torch.equal(batch.tokens, torch.tensor([[1, 10, 11, 9, 3], [1, 11, 9, 3, 5]]))
    assert torch.equal(batch.labels, torch.tensor([[no, no, no, 3, 6], [no, no, 3, 5, no]]))
    everything = Sequences(windows, SIDS, start=(1,), prompts=prompts, label_all=True).collate([0, 1])
    assert torch.equal(everything.labels, torch.tensor([[10, 11, 9, 3, 6], [11, 9, 3, 5, no]]))


def test_shuffled_windows_hold_their_items_in_new_orders() -> None:
    windows = [Window(tuple(range(len(SIDS))), 1)] * 40
    found = []
    for share in (0.0, 0.5, 1.0):
        torch.manual_seed(7)
        batch = Sequences(windows, SIDS, start=(1,), shuffle=share).collate(range(len(windows)))
        tokens = torch.cat([batch.tokens, batch.labels[:, -1:]], dim=1)[:, 1:]
        rows = tokens.view(len(windows), *SIDS.shape)  # [windows, items, L]
        inner, labels = batch.tokens[:, 1:], batch.labels[:, :-1]
        assert torch.equal(torch.where(labels == UNLABELLED, inner, labels), inner)
        assert all(sorted(map(tuple, row.tolist())) == sorted(map(tuple, SIDS.tolist())) for row in rows)
        found.append(sum(row.tolist() != SIDS.tolist() for row in rows))
    assert found[0] == 0 < found[1] < found[2]


def test_batches_hold_every_row_once_with_rows_of_similar_length() -> None:
    lengths = np.random.default_rng(0).integers(2, 22, size=1003)
    rows = Sequences([Window((0,) * int(length), 1) for length in lengths], SIDS, start=(1,))
    batches = rows.batches(batch_size=16, seed=4, epoch=2)
    assert Counter(row for batch in batches for row in batch) == Counter(range(1003))
    assert rows.batches(16, seed=4, epoch=2) == batches
    assert rows.batches(16, seed=4, epoch=3) != batches
    assert rows.batches(16, seed=5, epoch=2) != batches
    assert sum(int(lengths[batch].max()) * len(batch) for batch in batches) < 1.15 * lengths.sum()
