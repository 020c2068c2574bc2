"""A text on its way through the engine."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from sidebeam.models import Segment
from sidebeam.texts.acceptance import TIERS
from sidebeam.texts.draft_habit import DraftHabit
from sidebeam.texts.request import RelaxedToken, Stop, TextRequest, TextResult
from sidebeam.texts.token_tree import TokenTree
from sidebeam.texts.verify import Verdict

Ints = npt.NDArray[np.int64]

NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Placement:
    """One text's rows, ready for the pack: tokens that are due, then drafted ones below the last of these."""

    tokens: Ints  # [rows]
    positions: Ints  # [rows]
    segment: Segment
    heads: Ints  # rows of the pack whose logits are wanted: none until the prompt's last token is in
    due: int
    tree: TokenTree


@dataclass(slots=True, eq=False)
class TextTicket:
    """State between passes; owned by the engine's thread. Times are nanoseconds.

    Cell i of the slot holds token i of prompt and text: accepted rows are moved to where they belong after each pass.
    """

    request: TextRequest
    opened_ns: int
    most_tokens: int  # of the text, under all limits
    habit: DraftHabit = field(default_factory=DraftHabit)
    slot: int | None = None
    cells: int = 0  # tokens whose K/V is in the slot
    tokens: list[int] = field(default_factory=list)
    stop: Stop | None = None
    divergence: float = 0.0
    relaxed: list[RelaxedToken] = field(default_factory=list)
    drafted_by_tier: Ints = field(default_factory=lambda: np.zeros(TIERS, np.int64))
    accepted_by_tier: Ints = field(default_factory=lambda: np.zeros(TIERS, np.int64))
    passes: int = 0
    rows: int = 0
    pass_ns: int = 0
    host_ns: int = 0

    @property
    def due(self) -> Ints:
        """Tokens that are known, but not in the slot yet: what is left of the prompt, or the last token."""
        prompt = self.request.prompt
        if self.cells >= len(prompt):
            return np.array(self.tokens[self.cells - len(prompt) :], np.int64)
        return prompt[self.cells :].astype(np.int64)

    def is_answered_by(self, due: Ints) -> bool:
        """Whether the row after these is the next that nobody knows: prompt and text are in the slot with them."""
        return self.cells + len(due) == len(self.request.prompt) + len(self.tokens)

    @property
    def left(self) -> int:
        """Tokens that may still be written."""
        return self.most_tokens - len(self.tokens)

    def place(self, start: int, due: Ints, tree: TokenTree) -> Placement:
        """Rows from pack row `start` on: the next tokens `due` [d], and `tree` below them if they are the last."""
        assert self.slot is not None
        d, n = len(due), len(due) + len(tree)
        position = np.concatenate([np.arange(self.cells + d), self.cells + d - 1 + tree.depths])
        return Placement(
            tokens=np.concatenate([due, tree.tokens]),
            positions=position[self.cells :],
            segment=Segment(
                slot=self.slot,
                start=start,
                rows=n,
                cell=self.cells,
                mask=self._mask(d, tree) if self.cells or len(tree) else None,
                position=torch.from_numpy(position),
            ),
            heads=np.arange(start + d - 1, start + n) if self.is_answered_by(due) else NONE,
            due=d,
            tree=tree,
        )

    def _mask(self, d: int, tree: TokenTree) -> torch.Tensor:
        """Additive mask of the new rows over all cells up to theirs.  # [d + n, cells + d + n]"""
        mask = np.zeros((d + len(tree), self.cells + d + len(tree)), np.float32)
        if d > 1:
            mask[:d, self.cells : self.cells + d] = np.triu(np.full((d, d), -np.inf, np.float32), 1)
        if len(tree):
            mask[:d, self.cells + d :] = -np.inf
            mask[d:, self.cells + d :] = np.where(tree.ancestors(), np.float32(0), np.float32(-np.inf))
        return torch.from_numpy(mask)

    def settle(self, placement: Placement, verdict: Verdict | None) -> tuple[Ints, Ints]:
        """Take in a pass. Returns the cells to be moved and where to, [m] each."""
        self.passes += 1
        self.rows += len(placement.tokens)
        self.cells += placement.due
        if verdict is None:
            return NONE, NONE
        tree = placement.tree
        if len(tree):
            self.drafted_by_tier += np.bincount(tree.tiers, minlength=TIERS)
            self.accepted_by_tier += np.bincount(tree.tiers[verdict.accepted], minlength=TIERS)
        self.relaxed += verdict.relaxed
        self.divergence += sum(token.divergence for token in verdict.relaxed)
        self.tokens += verdict.tokens.tolist()
        if verdict.ended:
            self.stop = "end"
        elif self.left == 0:
            self.stop = "max_new_tokens" if self.most_tokens == self.request.max_new_tokens else "model_length"
        if not len(verdict.accepted):
            return NONE, NONE
        source = self.cells + verdict.accepted
        target = self.cells + np.arange(len(source))
        self.cells += len(source)
        astray = source != target
        return source[astray], target[astray]

    def result(self, now_ns: int) -> TextResult:
        """The text and what it cost; it must have stopped."""
        assert self.stop is not None
        tiers = int(np.max(np.flatnonzero(self.drafted_by_tier), initial=-1)) + 1
        busy = self.pass_ns + self.host_ns
        return TextResult(
            tokens=np.array(self.tokens, np.int64),
            stop=self.stop,
            passes=self.passes,
            rows=self.rows,
            drafted_by_tier=tuple(self.drafted_by_tier[:tiers].tolist()),
            accepted_by_tier=tuple(self.accepted_by_tier[:tiers].tolist()),
            relaxed=tuple(self.relaxed),
            divergence=self.divergence,
            draft_error=self.habit.error,
            queue_ns=max(0, now_ns - self.opened_ns - busy),
            pass_ns=self.pass_ns,
            draft_ns=self.habit.draft_ns,
            host_ns=self.host_ns,
        )
