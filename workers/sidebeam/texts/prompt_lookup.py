"""A drafter without any state but the text: what followed the last tokens when they stood here before."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.draft import ABOVE, TextDraft

Ints = npt.NDArray[np.int64]

LONGEST_MATCH = 8  # tokens: a longer match hardly says more
RECENT = 4  # earlier places of the last tokens that are looked up, latest first
KEEPS = 0.9  # P(a token follows as it did before), once one has


class PromptLookup:
    """Looks the last two tokens up in prompt and text, or else the last one; the longest match speaks first."""

    def open(self, prompt: Ints) -> PromptLookupSession:
        """Start on a text that begins after `prompt` [P]."""
        return PromptLookupSession(prompt)


class PromptLookupSession:
    """Where each token and each pair has ended before; all of it belongs to this text and goes with it."""

    def __init__(self, prompt: Ints) -> None:
        self._text: list[int] = []
        self._after_one: defaultdict[int, list[int]] = defaultdict(list)
        self._after_two: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        self.extend(prompt)

    def extend(self, tokens: Ints) -> None:
        """Note what ends before each new token: only what was followed by something is of use."""
        text = self._text
        for token in tokens.tolist():
            at = len(text)
            if at:
                self._after_one[text[-1]].append(at)
            if at > 1:
                self._after_two[text[-2], text[-1]].append(at)
            text.append(token)

    def draft(self, budget_rows: int, max_depth: int) -> TextDraft:
        """What followed the longest matches, as a tree; its probs start at n / (n + 1) for a match of n tokens."""
        text = self._text
        places = self._after_two.get((text[-2], text[-1])) if len(text) > 1 else None
        places = places or self._after_one.get(text[-1])
        if not places:
            return TextDraft.empty()
        matches = sorted(((self._match(at), at) for at in places[-RECENT:]), reverse=True)
        tokens: list[int] = []
        parents: list[int] = []
        probs: list[float] = []
        known: dict[tuple[int, int], int] = {}
        for rank, (length, at) in enumerate(matches, start=1):
            above, prob = ABOVE, length / (length + 1) / rank
            for token in text[at : at + max_depth]:
                node = known.get((above, token))
                if node is None:
                    if len(tokens) == budget_rows:
                        break
                    node = known[above, token] = len(tokens)
                    tokens.append(token)
                    parents.append(above)
                    probs.append(prob)
                above, prob = node, min(prob, probs[node]) * KEEPS
        return TextDraft(
            np.array(tokens, np.int32),
            np.array(parents, np.int32),
            np.array(probs, np.float32),
            np.zeros(len(tokens), np.uint8),
        )

    def close(self) -> None:
        """Forget the text."""
        self._text.clear()
        self._after_one.clear()
        self._after_two.clear()

    def _match(self, at: int) -> int:
        """How many tokens before `at` are the text's last."""
        text = self._text
        length = 1
        while length < min(LONGEST_MATCH, at) and text[at - length - 1] == text[-length - 1]:
            length += 1
        return length
