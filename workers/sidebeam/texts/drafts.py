"""What is drafted for a pass: every text's drafter is asked, the budget decides."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.draft import TextDraft
from sidebeam.texts.acceptance import Acceptance
from sidebeam.texts.draft_habit import NOTHING, Experience
from sidebeam.texts.drafter import falling
from sidebeam.texts.pace import Pace
from sidebeam.texts.row_budget import grant
from sidebeam.texts.ticket import TextTicket
from sidebeam.texts.token_tree import TokenTree
from sidebeam.texts.verify import Verdict

Ints = npt.NDArray[np.int64]
Floats64 = npt.NDArray[np.float64]

PROBE = 128  # every how many passes some rows are drafted only to learn what they cost and bring

Texts = Sequence[tuple[TextTicket, int]]  # those that are answered, and the number of tokens due of each
Kind = tuple[type, type]  # of verification and of drafter
Weighed = tuple[TokenTree, float]  # granted nodes, nanoseconds they are to save


class Drafts:
    """Keeps what was learned of drafters: for each kind of verification and of drafter, how much of it is accepted."""

    def __init__(self, pace: Pace, vocab_size: int, cells: int) -> None:
        self.pace = pace
        self._vocab_size = vocab_size
        self._cells = cells
        self._passes = 0
        self._acceptance: dict[Kind, Acceptance] = {}
        self._experience: dict[Kind, Experience] = {}

    def open(self, ticket: TextTicket) -> None:
        """Let a text's drafter start."""
        request, experience = ticket.request, self._experience_of(ticket)
        if request.drafting.mode == "auto" and experience.rests():
            return
        ticket.habit.open(request.drafter, request.prompt, experience)

    def close(self, ticket: TextTicket) -> None:
        """A text has ended, or nobody wants it any more."""
        ticket.habit.close()
        self._experience_of(ticket).learn(ticket.habit)

    def trees(self, texts: Texts, must: int, room: int) -> list[TokenTree]:
        """For each text and the number of its tokens that are due in a pass of `must` rows: its tree, maybe empty.

        All trees together have at most `room` nodes.
        """
        drafts = [self._draft(ticket, due) for ticket, due in texts]
        trees = [TokenTree.empty()] * len(texts)
        for i, (ticket, _) in enumerate(texts):
            if ticket.request.drafting.mode == "explicit" and len(drafts[i]):
                trees[i] = TokenTree.of(drafts[i], np.arange(len(drafts[i])) < room)
                must += len(trees[i])
                room -= len(trees[i])
        asked = [i for i, (text, _) in enumerate(texts) if text.habit.asked and text.request.drafting.mode == "auto"]
        if not asked:
            return trees
        start = time.perf_counter_ns()
        weighed = self._weigh(texts, drafts, must, room)
        share_ns = float(self.pace(len(texts), must)) / len(texts)
        weighing_ns = (time.perf_counter_ns() - start) / len(asked)
        for i in asked:
            trees[i], gain = weighed.get(i, (trees[i], 0.0))
            texts[i][0].habit.judge(len(trees[i]), gain - weighing_ns, share_ns)
        return trees

    def _weigh(self, texts: Texts, drafts: Sequence[TextDraft], must: int, room: int) -> dict[int, Weighed]:
        """The trees that pay, by the texts' places, of those that draft what pays; and what each is to save."""
        weighed = [i for i, (text, _) in enumerate(texts) if len(drafts[i]) and text.request.drafting.mode == "auto"]
        if not weighed:
            return {}
        self._passes += 1
        least = 0 if self._passes % PROBE else len(texts)
        estimates = [self._estimate(texts[i][0], drafts[i]) for i in weighed]
        grants = grant(self.pace, must, len(texts), estimates, room, least)
        return {
            i: (TokenTree.of(drafts[i], kept), gain)
            for i, kept, gain in zip(weighed, grants.kept, grants.gains, strict=True)
            if kept.any()
        }

    def learn(self, ticket: TextTicket, tree: TokenTree, verdict: Verdict) -> None:
        """Take in which nodes of a tree were accepted."""
        if len(tree):
            accepted = np.zeros(len(tree), np.bool_)
            accepted[verdict.accepted] = True
            self._acceptance_of(ticket).observe(tree.probs, tree.tiers, accepted)

    def _draft(self, ticket: TextTicket, due: int) -> TextDraft:
        wanted = ticket.request.drafting
        if wanted.mode == "off":
            return NOTHING
        rows = min(wanted.rows, self._cells - ticket.cells - due)
        if wanted.mode == "auto":
            rows = min(rows, ticket.habit.rows)
        depth = min(wanted.depth, ticket.left - 1)  # the pass brings one more token by itself
        return ticket.habit.draft(self._vocab_size, rows, depth)

    def _estimate(self, ticket: TextTicket, draft: TextDraft) -> Floats64:
        """P(accepted) of each node; what was learned must not raise a child above its parent.  # [n]"""
        return falling(self._acceptance_of(ticket).estimate(draft.probs, draft.tiers), draft.parents)

    def _acceptance_of(self, ticket: TextTicket) -> Acceptance:
        kind = _kind(ticket)
        if kind not in self._acceptance:
            self._acceptance[kind] = Acceptance()
        return self._acceptance[kind]

    def _experience_of(self, ticket: TextTicket) -> Experience:
        return self._experience.setdefault(_kind(ticket), Experience())


def _kind(ticket: TextTicket) -> Kind:
    return type(ticket.request.verification), type(ticket.request.drafter)
