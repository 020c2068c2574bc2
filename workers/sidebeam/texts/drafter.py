"""Who may draft a text: anything that keeps up with it and says how it could go on."""

from __future__ import annotations

from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.draft import ABOVE, TextDraft

Ints = npt.NDArray[np.int64]
Float = TypeVar("Float", np.float32, np.float64)


class TextDrafter(Protocol):
    """Everything it says is a hint: late, empty or wrong, an exact text is the same."""

    def open(self, prompt: Ints) -> TextSession:
        """Start on a text that begins after `prompt` [P]."""


class TextSession(Protocol):
    """One text's drafter, between its passes."""

    def draft(self, budget_rows: int, max_depth: int) -> TextDraft:
        """At most `budget_rows` nodes below the text's last token, none deeper than `max_depth`."""

    def extend(self, tokens: Ints) -> None:
        """The text goes on with `tokens` [n]."""

    def close(self) -> None:
        """The text has ended, or nobody wants it any more."""


def checked(draft: TextDraft, vocab_size: int, budget_rows: int, max_depth: int) -> TextDraft:
    """`draft` as far as it keeps to its limits, with probs that never rise from parent to child.

    Raises ValueError for a draft that is no tree of the vocabulary's tokens.
    """
    n = len(draft)
    if not draft.parents.shape == draft.probs.shape == draft.tiers.shape == (n,):
        raise ValueError(f"a draft of {n} tokens has parents, probs or tiers of another shape")
    kinds = "".join(array.dtype.kind for array in (draft.tokens, draft.parents, draft.probs))
    if kinds != "iif" or draft.tiers.dtype != np.uint8:
        raise ValueError("a draft has tokens and parents as integers, probs as floats and tiers as uint8")
    if not n:
        return draft
    if draft.tokens.min() < 0 or draft.tokens.max() >= vocab_size:
        raise ValueError(f"drafted tokens must be 0 to {vocab_size - 1}; given {_worst(draft.tokens, vocab_size)}")
    if draft.parents.min() < ABOVE or np.any(draft.parents >= np.arange(n)):
        raise ValueError("a drafted node must come after its parent")
    n = min(n, budget_rows)  # parents come first, so that this leaves a tree
    tokens, parents, tiers = draft.tokens[:n], draft.parents[:n], draft.tiers[:n]
    probs = draft.probs[:n]
    if not (probs.min() >= 0 and probs.max() <= 1):  # so it is for NaN
        probs = np.clip(np.nan_to_num(probs), 0, 1)
    probs = falling(probs, parents)
    depths: list[int] = []
    for parent in parents.tolist():
        depths.append(1 if parent == ABOVE else depths[parent] + 1)
    if max(depths, default=0) <= max_depth:
        return TextDraft(tokens, parents, probs, tiers)
    kept = np.array(depths) <= max_depth
    at = np.cumsum(kept, dtype=np.int32) - 1
    parents = np.where(parents == ABOVE, ABOVE, at[parents])
    return TextDraft(tokens[kept], parents[kept].astype(np.int32), probs[kept], tiers[kept])


def falling(probs: npt.NDArray[Float], parents: npt.NDArray[np.int32]) -> npt.NDArray[Float]:
    """`probs` [n] of a tree's nodes, lowered where a child's is above its parent's; parents come first."""
    if not np.any((probs > probs[parents]) & (parents != ABOVE)):
        return probs
    lowered: list[float] = []
    for prob, parent in zip(probs.tolist(), parents.tolist(), strict=True):
        lowered.append(prob if parent == ABOVE else min(prob, lowered[parent]))
    return np.array(lowered, probs.dtype)


def _worst(tokens: npt.NDArray[np.int32], vocab_size: int) -> int:
    return int(tokens.min() if tokens.min() < 0 else tokens.max())
