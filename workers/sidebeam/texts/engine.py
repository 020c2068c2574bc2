"""Continuous batching of texts: whatever waits when a pass ends goes into the next one."""

from __future__ import annotations

import copy
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from sidebeam.knowledge.draft import ABOVE, TextDraft
from sidebeam.models import Pack, PackedModel
from sidebeam.texts.drafts import Drafts
from sidebeam.texts.pace import Pace
from sidebeam.texts.request import Exact, TextEvent, TextPiece, TextRequest, TextResult
from sidebeam.texts.ticket import Placement, TextTicket
from sidebeam.texts.token_tree import TokenTree
from sidebeam.texts.verify import Trial, Verdict, Verifier
from sidebeam.texts.vocabulary import Vocabulary

Ints = npt.NDArray[np.int64]

PASS_ROWS = 512  # of all texts together; a longer prompt takes several passes, between which the others go on
USUAL_TEXT = 256  # tokens in a slot when the pace is measured
NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class _Share:
    """One text's share of a pass; `trial` None: its prompt is not in yet."""

    ticket: TextTicket
    placement: Placement
    trial: Trial | None


class TextEngine:
    """Writes texts with one model. Not thread-safe: one thread opens, cancels and steps.

    Every open text owns a KV slot of the model's; later ones wait in line, so memory does not grow with load. Slots may
    be shared with another engine of the same thread, to which `max_open` leaves some.
    """

    def __init__(
        self, model: PackedModel, vocabulary: Vocabulary, *, max_open: int | None = None, pass_rows: int = PASS_ROWS
    ) -> None:
        """Raises ValueError if a limit is out of range or the vocabulary is not the model's."""
        slots = model.slots.slots
        self.max_open = slots if max_open is None else max_open
        self.pass_rows = pass_rows
        if not 1 <= self.max_open <= slots:
            raise ValueError(f"max_open must be 1 to {slots}, the model's slots; given {max_open}")
        if pass_rows < self.max_open:
            raise ValueError(f"pass_rows must be {self.max_open} or more, one for each open text; given {pass_rows}")
        if vocabulary.size != model.config.vocab_size:
            raise ValueError(f"the model has {model.config.vocab_size} tokens, the vocabulary {vocabulary.size}")
        self.longest = min(int(model.config.max_position_embeddings), model.slots.cells)  # tokens of prompt and text
        self.vocabulary = vocabulary
        self.drafts = Drafts(Pace(), vocabulary.size, model.slots.cells)
        self._model = model
        self._verifier = Verifier(vocabulary)
        self._waiting: deque[TextTicket] = deque()
        self._open: list[TextTicket] = []

    def another(self) -> TextEngine:
        """One more of the same model and slots, at this one's pace, which has learned nothing of drafters yet."""
        engine = TextEngine(self._model, self.vocabulary, max_open=self.max_open, pass_rows=self.pass_rows)
        engine.drafts.pace = copy.deepcopy(self.drafts.pace)
        return engine

    @property
    def is_idle(self) -> bool:
        """Whether a step would find nothing to do."""
        return not self._waiting and not self._open

    def open(self, request: TextRequest) -> TextTicket:
        """Start a text; `step` reports its events. Raises ValueError for a prompt that the model cannot take."""
        prompt, vocab_size = request.prompt, self.vocabulary.size
        if len(prompt) >= self.longest:
            raise ValueError(f"prompt must be 1 to {self.longest - 1} tokens; given {len(prompt)}")
        outside = prompt[(prompt < 0) | (prompt >= vocab_size)]
        if len(outside):
            raise ValueError(f"prompt tokens must be 0 to {vocab_size - 1}; given {outside[0]}")
        ticket = TextTicket(request, time.perf_counter_ns(), min(request.max_new_tokens, self.longest - len(prompt)))
        self._waiting.append(ticket)
        return ticket

    def cancel(self, ticket: TextTicket) -> None:
        """Drop a text: its rows leave the next pass, its slot is free again. Ended ones are let be."""
        if ticket in self._waiting:
            self._waiting.remove(ticket)
        elif ticket in self._open:
            self._close(ticket)

    def generate(self, requests: Sequence[TextRequest]) -> list[TextResult]:
        """Write all texts, sharing passes; results in the requests' order. Raises ValueError as `open` does."""
        tickets = [self.open(request) for request in requests]
        results: dict[TextTicket, TextResult] = {}
        while len(results) < len(tickets):
            results |= {ticket: event for ticket, event in self.step() if isinstance(event, TextResult)}
        return [results[ticket] for ticket in tickets]

    def step(self, on_packed: Callable[[], None] = lambda: None) -> list[tuple[TextTicket, TextEvent]]:
        """One pass over all open texts. Returns what happened, in order.

        `on_packed` is called when the pass is about to start, from where on the interpreter is mostly free.
        """
        start = time.perf_counter_ns()
        self._admit()
        dues = self._due()
        if not dues:
            return []
        trees = self._drafted(dues)
        drafted = time.perf_counter_ns()
        shares = list(_placed(dues, trees))
        pack = _packed(shares)
        on_packed()
        packed = time.perf_counter_ns()
        verdicts = self._verdicts(pack, shares)
        verified = time.perf_counter_ns()
        events = self._settle(shares, verdicts)
        ended = time.perf_counter_ns()
        self.drafts.pace.observe(len(shares), len(pack.tokens), ended - drafted)
        for share in shares:
            share.ticket.pass_ns += verified - packed
            share.ticket.host_ns += packed - start + ended - verified
        return [*events, *self._finish(shares)]

    def _admit(self) -> None:
        while self._waiting and len(self._open) < self.max_open and (slot := self._model.slots.take()) is not None:
            ticket = self._waiting.popleft()
            ticket.slot = slot
            self.drafts.open(ticket)
            self._open.append(ticket)

    def _due(self) -> list[tuple[TextTicket, Ints]]:
        """The next tokens of each text: the last of those being written, then of new prompts what there is room for."""
        written = [ticket for ticket in self._open if ticket.tokens]
        dues = [(ticket, ticket.due) for ticket in written]
        room = self.pass_rows - sum(len(due) for _, due in dues)
        for ticket in self._open:
            if room and not ticket.tokens:
                dues.append((ticket, ticket.due[:room]))
                room -= len(dues[-1][1])
        return dues

    def _drafted(self, dues: Sequence[tuple[TextTicket, Ints]]) -> list[TokenTree | None]:
        """The drafted tree below each text's due tokens; None: its prompt is not in after this pass."""
        must = sum(len(due) for _, due in dues)
        answered = [(ticket, len(due)) for ticket, due in dues if ticket.is_answered_by(due)]
        trees = dict(
            zip((t for t, _ in answered), self.drafts.trees(answered, must, self.pass_rows - must), strict=True)
        )
        return [trees.get(ticket) for ticket, _ in dues]

    def _verdicts(self, pack: Pack, shares: Sequence[_Share]) -> list[Verdict | None]:
        """Run the pass. None for a text whose prompt is not in yet."""
        logits = self._model.logits(pack)
        verdicts = iter(self._verifier(logits, [share.trial for share in shares if share.trial is not None]))
        return [None if share.trial is None else next(verdicts) for share in shares]

    def _settle(
        self, shares: Sequence[_Share], verdicts: Sequence[Verdict | None]
    ) -> list[tuple[TextTicket, TextEvent]]:
        events: list[tuple[TextTicket, TextEvent]] = []
        moves = [(NONE, NONE, NONE)]
        for share, verdict in zip(shares, verdicts, strict=True):
            ticket = share.ticket
            source, target = ticket.settle(share.placement, verdict)
            if verdict is None:
                continue
            self.drafts.learn(ticket, share.placement.tree, verdict)
            events.append((ticket, TextPiece(verdict.tokens)))
            if ticket.stop is None:
                ticket.habit.extend(verdict.tokens)
                moves.append((np.full(len(source), ticket.slot), source, target))
        slots, sources, targets = (np.concatenate(column) for column in zip(*moves, strict=True))
        if len(slots):
            self._model.slots.move(*(torch.from_numpy(cells) for cells in (slots, sources, targets)))
        return events

    def _finish(self, shares: Sequence[_Share]) -> Iterator[tuple[TextTicket, TextEvent]]:
        for ticket in (share.ticket for share in shares):
            if ticket.stop is not None:
                self._close(ticket)
                yield ticket, ticket.result(time.perf_counter_ns())

    def _close(self, ticket: TextTicket) -> None:
        assert ticket.slot is not None
        self._open.remove(ticket)
        self._model.slots.give_back(ticket.slot)
        self.drafts.close(ticket)

    def warm_up(self) -> None:
        """Take all memory and measure the pace; to be called once, before any text is opened."""
        before = min(USUAL_TEXT, self.longest // 2)
        prompt = np.zeros(before, np.int64)

        def run(texts: int, rows: int) -> None:
            shares = []
            start = 0
            for i in range(texts):
                n = rows // texts + (i < rows % texts)
                ticket = TextTicket(TextRequest(prompt, 1), 0, 1, slot=i, cells=before - 1)
                placement = ticket.place(start, prompt[-1:], TokenTree.of(_bush(n - 1)))
                shares.append(_Share(ticket, placement, Trial(placement.tree, Exact(), 0, 0.0)))
                start += n
            self._verdicts(_packed(shares), shares)

        most = min(self.pass_rows, self._model.slots.cells - before)
        self.drafts.pace = Pace.measure(run, time.perf_counter_ns, self.max_open, most)


def _placed(dues: Sequence[tuple[TextTicket, Ints]], trees: Sequence[TokenTree | None]) -> Iterator[_Share]:
    start = 0
    for (ticket, due), tree in zip(dues, trees, strict=True):
        placement = ticket.place(start, due, tree or TokenTree.empty())
        start += len(placement.tokens)
        trial = Trial(placement.tree, ticket.request.verification, len(ticket.tokens), ticket.divergence)
        yield _Share(ticket, placement, None if tree is None else trial)


def _packed(shares: Sequence[_Share]) -> Pack:
    return Pack(
        tokens=np.concatenate([share.placement.tokens for share in shares]),
        positions=np.concatenate([share.placement.positions for share in shares]),
        segments=[share.placement.segment for share in shares],
        heads=np.concatenate([share.placement.heads for share in shares]),
        row=NONE,
        token=NONE,
    )


def _bush(nodes: int) -> TextDraft:
    """Eight chains of equal length."""
    parents = np.arange(nodes, dtype=np.int32) - 8
    parents[parents < 0] = ABOVE
    return TextDraft(np.zeros(nodes, np.int32), parents, np.ones(nodes, np.float32), np.zeros(nodes, np.uint8))
