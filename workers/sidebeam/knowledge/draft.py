"""A tree of tokens that may follow a text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

ABOVE = -1  # the parent of first tokens: the text's last token


@dataclass(frozen=True, slots=True)
class TextDraft:
    """Drafted nodes, parents before children, siblings with distinct tokens; empty where nothing is known.

    `probs` estimate that the target accepts a node and all nodes above it, so no child has more than its parent.
    `tiers` say where a node comes from, as indices into the tiers that were asked.
    """

    tokens: Ints  # [n]
    parents: Ints  # [n] indices of nodes, `ABOVE` for first tokens
    probs: Floats  # [n] 0 to 1
    tiers: npt.NDArray[np.uint8]  # [n]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def depths(self) -> Ints:
        """Tokens from the text's end to each node, 1 for first tokens.  # [n]"""
        depths = np.ones(len(self), np.int32)
        for node, parent in enumerate(self.parents):  # a parent's depth is known before its children's
            if parent != ABOVE:
                depths[node] = depths[parent] + 1
        return depths

    @classmethod
    def empty(cls) -> TextDraft:
        """No drafted nodes."""
        return cls(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.uint8))
