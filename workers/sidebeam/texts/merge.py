"""Several drafts of one text as one tree, and several drafters as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.draft import ABOVE, TextDraft
from sidebeam.texts.drafter import TextDrafter, TextSession

Ints = npt.NDArray[np.int64]


def merge(drafts: Sequence[TextDraft], most: int | None = None) -> TextDraft:
    """The union of the drafts' paths, of which the `most` likeliest nodes remain; None: all.

    A node that several drafts hold has the highest of their probs, and that draft's tier (the first one's of equals).
    No child's prob is above its parent's, since none was in its own draft; so the likeliest nodes hold their parents.
    """
    places: dict[tuple[int, int], int] = {}  # parent's place and token, of each node of the union
    tokens: list[int] = []
    parents: list[int] = []
    probs: list[float] = []
    tiers: list[int] = []
    for draft in drafts:
        own: list[int] = []  # this draft's nodes in the union
        rows = zip(
            draft.tokens.tolist(), draft.parents.tolist(), draft.probs.tolist(), draft.tiers.tolist(), strict=True
        )
        for token, parent, prob, tier in rows:
            above = ABOVE if parent == ABOVE else own[parent]
            place = places.setdefault((above, token), len(tokens))
            own.append(place)
            if place == len(tokens):
                tokens.append(token)
                parents.append(above)
                probs.append(prob)
                tiers.append(tier)
            elif prob > probs[place]:
                probs[place], tiers[place] = prob, tier
    union = TextDraft(
        np.array(tokens, np.int32), np.array(parents, np.int32), np.array(probs, np.float32), np.array(tiers, np.uint8)
    )
    return union if most is None or len(union) <= most else _likeliest(union, most)


def _likeliest(draft: TextDraft, most: int) -> TextDraft:
    order = np.argsort(-draft.probs, kind="stable")[:most]  # parents come first in a draft, so they do among equals
    place = np.full(len(draft), ABOVE, np.int32)
    place[order] = np.arange(len(order))
    parents = draft.parents[order]
    return TextDraft(
        draft.tokens[order],
        np.where(parents == ABOVE, ABOVE, place[parents]).astype(np.int32),
        draft.probs[order],
        draft.tiers[order],
    )


class MergedDrafter:
    """Asks several drafters and merges what they say; the tiers of the i-th begin at `first_tiers[i]`."""

    def __init__(self, drafters: Sequence[TextDrafter], first_tiers: Sequence[int]) -> None:
        if len(drafters) != len(first_tiers):
            raise ValueError(f"first_tiers must name {len(drafters)} tiers; given {len(first_tiers)}")
        self._drafters = tuple(drafters)
        self._first_tiers = tuple(first_tiers)

    def open(self, prompt: Ints) -> TextSession:
        """Start all drafters on a text that begins after `prompt` [P]."""
        return _MergedSession([drafter.open(prompt) for drafter in self._drafters], self._first_tiers)


class _MergedSession:
    def __init__(self, sessions: Sequence[TextSession], first_tiers: Sequence[int]) -> None:
        self._sessions = sessions
        self._first_tiers = first_tiers

    def draft(self, budget_rows: int, max_depth: int) -> TextDraft:
        drafts = []
        for session, first in zip(self._sessions, self._first_tiers, strict=True):
            draft = session.draft(budget_rows, max_depth)
            drafts.append(TextDraft(draft.tokens, draft.parents, draft.probs, draft.tiers + np.uint8(first)))
        return merge(drafts, budget_rows)

    def extend(self, tokens: Ints) -> None:
        for session in self._sessions:
            session.extend(tokens)

    def close(self) -> None:
        for session in self._sessions:
            session.close()
