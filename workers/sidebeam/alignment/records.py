"""What a teacher said: beams of every depth and the log-probs after each, without the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sidebeam.catalog import Catalog, ranges

Ints = npt.NDArray[np.int64]
AnyInts = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Record:
    """One prompt. `edges`: the target's log-probs of all children of the root, then of each beam of depth 1, 2, ...

    Children stand in the trie's order, so they need no names. `beams` are trie nodes, best first; the root, which is
    never a beam, fills up depths that have fewer.
    """

    prompt: Ints  # [P] token ids
    label: int  # the item that the user took
    beams: Ints  # [L, K]
    scores: Floats  # [L, K] cumulative log-probs of the beams
    edges: Floats  # [E]


@dataclass(frozen=True, slots=True)
class Records:
    """Many prompts, as arrays that a file can hold. Ragged ones are told apart by where each sample ends."""

    prompt: AnyInts  # [sum of P]
    prompt_end: Ints  # [n]
    label: AnyInts  # [n]
    beams: AnyInts  # [n, L, K]
    scores: Floats  # [n, L, K]
    edges: npt.NDArray[np.float16]  # [sum of E]
    edges_end: Ints  # [n]

    @classmethod
    def of(cls, records: Sequence[Record], catalog: Catalog, vocab_size: int) -> Self:
        """Packs them into the narrowest types that hold the catalog and the vocabulary."""
        return cls(
            prompt=np.concatenate([record.prompt for record in records]).astype(np.min_scalar_type(vocab_size)),
            prompt_end=np.cumsum([len(record.prompt) for record in records]),
            label=np.array([record.label for record in records]).astype(np.min_scalar_type(catalog.n_items)),
            beams=np.stack([record.beams for record in records]).astype(np.min_scalar_type(catalog.trie.n_nodes)),
            scores=np.stack([record.scores for record in records]),
            edges=np.concatenate([record.edges for record in records]).astype(np.float16),
            edges_end=np.cumsum([len(record.edges) for record in records]),
        )

    @classmethod
    def none(cls) -> Self:
        """No samples."""
        none = np.zeros(0, np.int64)
        floats = np.zeros((0, 1, 1), np.float32)
        return cls(none, none, none, np.zeros((0, 1, 1), np.int64), floats, np.zeros(0, np.float16), none)

    @classmethod
    def join(cls, parts: Sequence[Records]) -> Self:
        """All samples of the parts, one after another."""
        joined: dict[str, Any] = {}
        for field in fields(cls):
            arrays = [getattr(part, field.name) for part in parts]
            if field.name.endswith("_end"):
                sizes = [int(array[-1]) for array in arrays]
                starts = np.cumsum([0, *sizes[:-1]])
                arrays = [array + start for array, start in zip(arrays, starts, strict=True)]
            joined[field.name] = np.concatenate(arrays)
        return cls(**joined)

    def __len__(self) -> int:
        return len(self.label)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))

    @property
    def prompt_length(self) -> Ints:
        """Tokens of each prompt.  # [n]"""
        return np.diff(self.prompt_end, prepend=0)

    def prompts(self, chosen: Ints, width: int, *, first: Ints) -> Ints:
        """The prompts of these samples as rows, zeros around them; `first` is where each begins.  # [B, width]"""
        length = self.prompt_length[chosen]
        rows = np.zeros((len(chosen), width), np.int64)
        row = np.repeat(np.arange(len(chosen)), length)
        flat = self.prompt[ranges(self.prompt_end[chosen] - length, length)]
        rows[row, ranges(first, length)] = flat
        return rows

    @property
    def edges_start(self) -> Ints:
        """Where each sample's edges begin.  # [n]"""
        return self.edges_end - np.diff(self.edges_end, prepend=0)
