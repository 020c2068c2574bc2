"""Who may draft a text: anything that keeps up with it and says how it could go on."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.draft import ABOVE, TextDraft

Ints = npt.NDArray[np.int64]


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
    probs = np.clip(np.nan_to_num(draft.probs[:n]), 0, 1)
    depths, kept = [0] * n, np.ones(n, np.bool_)
    for node, parent in enumerate(parents.tolist()):
        depths[node] = 1 if parent == ABOVE else depths[parent] + 1
        kept[node] = depths[node] <= max_depth
        if parent != ABOVE and probs[node] > probs[parent]:
            probs[node] = probs[parent]
    if kept.all():
        return TextDraft(tokens, parents, probs, tiers)
    at = np.cumsum(kept, dtype=np.int32) - 1
    parents = np.where(parents == ABOVE, ABOVE, at[parents])
    return TextDraft(tokens[kept], parents[kept].astype(np.int32), probs[kept], tiers[kept])


def _worst(tokens: npt.NDArray[np.int32], vocab_size: int) -> int:
    return int(tokens.min() if tokens.min() < 0 else tokens.max())
