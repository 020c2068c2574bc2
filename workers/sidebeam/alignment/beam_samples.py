"""From teacher records to batches that a student can be trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from sidebeam.alignment.beam_tree import BeamTree
from sidebeam.alignment.records import Records
from sidebeam.alignment.tree_builder import PromptRows, Said, TreeBuilder
from sidebeam.catalog import Catalog
from sidebeam.training.sequences import UNLABELLED, Batch, batches_by_length

Ints = npt.NDArray[np.int64]


class _Samples:
    """Records in batches; every kind of sample below makes the same ones."""

    def __init__(self, records: Records, catalog: Catalog) -> None:
        self._records = records
        self._catalog = catalog

    def __len__(self) -> int:
        return len(self._records)

    def batches(self, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
        """Every sample's index once: shuffled by seed and epoch, prompts of similar length in one batch."""
        return batches_by_length(self._records.prompt_length, batch_size, np.random.default_rng([seed, epoch]))

    def _rows(self, chosen: Ints) -> PromptRows:
        length = self._records.prompt_length[chosen]  # [B]
        width = int(length.max())
        tokens = self._records.prompts(chosen, width, first=width - length)
        return PromptRows(tokens, length, self._catalog.sids_of(self._records.label[chosen]))


class BeamSamples(_Samples):
    """Prompts with their label and the teacher's beams."""

    def __init__(self, records: Records, builder: TreeBuilder) -> None:
        super().__init__(records, builder.catalog)
        self._builder = builder

    def collate(self, indices: Sequence[int]) -> BeamTree:
        """The samples of these indices."""
        chosen = np.asarray(indices, np.int64)
        records = self._records
        said = Said(records.edges, records.edges_start[chosen], records.scores[chosen])
        return self._builder.build(self._rows(chosen), records.beams[chosen].astype(np.int64), said)


class PromptSamples(_Samples):
    """Prompts with their label, for a student that finds its own beams."""

    def collate(self, indices: Sequence[int]) -> PromptRows:
        """The samples of these indices."""
        return self._rows(np.asarray(indices, np.int64))


class LabelledPrompts(_Samples):
    """Prompts with their label alone, as plain rows."""

    def collate(self, indices: Sequence[int]) -> Batch:
        """The samples of these indices, padded on the right, where causal attention never looks."""
        chosen = np.asarray(indices, np.int64)
        sids = self._catalog.sids_of(self._records.label[chosen])  # [B, L]
        length = self._records.prompt_length[chosen]
        width = int(length.max()) + sids.shape[1]
        rows = self._records.prompts(chosen, width, first=np.zeros_like(length))
        labels = np.full_like(rows, UNLABELLED)
        at = length[:, None] + np.arange(sids.shape[1])
        np.put_along_axis(rows, at, sids, axis=1)
        np.put_along_axis(labels, at, sids, axis=1)
        return Batch(torch.from_numpy(rows[:, :-1].copy()), torch.from_numpy(labels[:, 1:].copy()))
