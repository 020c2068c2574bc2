"""Prompts and texts as training batches: the text is what is learnt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sidebeam.folklore.tokens import Tokens
from sidebeam.training.sequences import UNLABELLED, Batch, batches_by_length


class Lessons:
    """Rows of a prompt, its text and the end mark; labels are the text's tokens and the end mark."""

    def __init__(self, pairs: Sequence[tuple[str, str]], tokens: Tokens) -> None:
        prompts = tokens.prompts([prompt for prompt, _ in pairs])
        answers = tokens.answers([text for _, text in pairs])
        self._first = [len(prompt) for prompt in prompts]
        self._rows = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def tokens(self) -> int:
        """Tokens of all rows, prompts included."""
        return sum(map(len, self._rows))

    def batches(self, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
        """Every row's index once: shuffled by seed and epoch, rows of similar length in one batch."""
        lengths = np.array([len(row) for row in self._rows], dtype=np.int64)
        return batches_by_length(lengths, batch_size, np.random.default_rng([seed, epoch]))

    def collate(self, indices: Sequence[int]) -> Batch:
        """Rows are padded on the right, where causal attention never looks."""
        width = max(len(self._rows[index]) for index in indices)
        rows = np.zeros((len(indices), width), dtype=np.int64)
        labels = np.full_like(rows, UNLABELLED)
        for row, label, index in zip(rows, labels, indices, strict=True):
            tokens, first = self._rows[index], self._first[index]
            row[: len(tokens)] = tokens
            label[first : len(tokens)] = tokens[first:]
        return Batch(torch.from_numpy(rows[:, :-1].copy()), torch.from_numpy(labels[:, 1:].copy()))
