"""Continuous batching: whatever waits when a pass ends goes into the next one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.catalog import Catalog, refuse_unfit
from sidebeam.engine.cells import Cells, Placement
from sidebeam.engine.holding import HeldSearch, Holding
from sidebeam.engine.ticket import Ticket
from sidebeam.models import Pack, PackedModel
from sidebeam.search import (
    Budget,
    Coverage,
    DraftAdvice,
    DraftTree,
    Load,
    Memory,
    PassCurve,
    Search,
    SearchEvent,
    SearchRequest,
    SearchResult,
)
from sidebeam.search.request import PassRecord, Scoring
from sidebeam.search.scored_tree import Frontier

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

MAX_PASS_ROWS = 2048  # of all requests together; a longer pass would make late comers wait for too long


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine has loaded, and how fast it is: the curve is (rows, nanoseconds)."""

    catalog_version: str
    vocab_size: int
    max_prompt_tokens: int
    slots: int
    kv_bytes: int
    curve: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Row:
    """One request's share of a pass."""

    ticket: Ticket
    frontier: Frontier
    placement: Placement


class Engine:
    """Runs searches on one model. Not thread-safe: one thread opens, cancels and steps.

    Every open search owns a KV slot; later ones wait in line, so memory does not grow with load.
    """

    def __init__(
        self, model: PackedModel, catalog: Catalog, scoring: Scoring, max_prompt_tokens: int, draft_beams: int = 40
    ) -> None:
        self.holding = Holding(catalog, Memory(catalog), Budget(PassCurve([1, 2048], [1e6, 1e8]), Coverage()))
        self.scoring: Scoring = scoring
        self.max_prompt_tokens = max_prompt_tokens
        self._model = model
        self._draft_beams = draft_beams
        self._waiting: deque[Ticket] = deque()
        self._open: list[Ticket] = []

    @property
    def catalog(self) -> Catalog:
        """The one of searches that name none."""
        return self.holding.catalog

    @property
    def budget(self) -> Budget:
        """What is known about drafts of that catalog."""
        return self.holding.budget

    @property
    def memory(self) -> Memory:
        """What the target said about that catalog."""
        return self.holding.memory

    def prepare(self, catalog: Catalog) -> Holding:
        """Get ready to hold another catalog beside those that are held; any thread may. Raises CatalogUnfit.

        It knows how long passes take, and nothing else that was learned before.
        """
        refuse_unfit(catalog, self.catalog, int(self._model.config.vocab_size))
        return Holding(catalog, Memory(catalog), Budget(self.budget.curve, Coverage()))

    def hold(self, holding: Holding) -> None:
        """Take searches of `holding`, also those that name no catalog. Those that are open stay with theirs."""
        self._model.widen(holding.catalog.trie.alphabet.astype(np.int64))
        self.holding = holding

    @property
    def tree_cells(self) -> int:
        """Cells of a slot beyond the longest prompt."""
        return self._model.slots.cells - self.max_prompt_tokens

    @property
    def is_idle(self) -> bool:
        """Whether a step would find nothing to do: no open search, or all of them wait for drafts."""
        return not self._waiting and all(ticket.awaits_draft for ticket in self._open)

    def describe(self) -> EngineInfo:
        """Limits, memory and the pass-time curve."""
        return EngineInfo(
            catalog_version=self.catalog.version,
            vocab_size=self._model.config.vocab_size,
            max_prompt_tokens=self.max_prompt_tokens,
            slots=self._model.slots.slots,
            kv_bytes=self._model.slots.nbytes,
            curve=self.budget.curve.points(),
        )

    def open(self, asked: SearchRequest | HeldSearch) -> Ticket:
        """Start a search; `step` reports its events. Raises ValueError for a prompt that no slot holds."""
        request, holding = (asked.request, asked.holding) if isinstance(asked, HeldSearch) else (asked, self.holding)
        if not 0 < len(request.prompt) <= self.max_prompt_tokens:
            raise ValueError(f"prompt must be 1 to {self.max_prompt_tokens} tokens; given {len(request.prompt)}")
        now = time.perf_counter_ns()
        ticket = Ticket(request, holding, now, Search(holding.catalog, request, self.scoring, self.tree_cells))
        if request.draft_ns:
            self._budget(ticket).observe_draft(ticket.search.draft_length, request.draft_ns)
        self._waiting.append(ticket)
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Drop a search: its rows leave the next pass, its slot is free again. Ended ones are let be."""
        if ticket in self._waiting:
            self._waiting.remove(ticket)
        elif ticket in self._open:
            self._close(ticket)

    def draft(self, ticket: Ticket, tree: DraftTree | None) -> None:
        """Answer a DraftWanted; None: nothing to offer."""
        if tree is not None:
            ticket.search.offer(tree)
        ticket.awaits_draft = False

    def step(self, on_packed: Callable[[], None] = lambda: None) -> list[tuple[Ticket, SearchEvent]]:
        """One pass over all open searches. Returns what happened, in order.

        `on_packed` is called when the pass is about to start, from where on the interpreter is mostly free.
        """
        self._admit()
        events = list(self._ask_for_drafts())
        start = time.perf_counter_ns()
        rows = self._schedule()
        if not rows:
            return events
        pack = self._pack(rows)
        on_packed()
        packed = time.perf_counter_ns()
        values = self._model.score(pack)
        scored = time.perf_counter_ns()
        events += self._settle(rows, values)
        total = sum(row.placement.segment.rows for row in rows)
        self.budget.curve.observe(total, time.perf_counter_ns() - start)
        for row in rows:
            row.ticket.pass_ns += scored - packed
            row.ticket.search_ns += packed - start + time.perf_counter_ns() - scored
        self._log(rows, total, scored, scored - packed)
        return events + self._finish(rows)

    def _admit(self) -> None:
        while self._waiting and (slot := self._model.slots.take()) is not None:
            ticket = self._waiting.popleft()
            ticket.cells = Cells(ticket.holding.catalog, slot, ticket.request.prompt, self._model.slots.cells)
            self._open.append(ticket)

    def _ask_for_drafts(self) -> Iterator[tuple[Ticket, SearchEvent]]:
        for ticket in self._open:
            wanted = None if ticket.awaits_draft else ticket.search.draft_wanted()
            if wanted is not None:
                ticket.awaits_draft = True
                yield ticket, wanted

    def _schedule(self) -> list[_Row]:
        """Rows of the next pass: every search's own, with drafts as far as the budget grants them."""
        ready = [ticket for ticket in self._open if not ticket.awaits_draft]
        rows: list[_Row] = []
        total = 0
        for ticket in ready:
            if total + self._expected_rows(ticket) > MAX_PASS_ROWS and rows:
                break
            nodes = ticket.search.rows(self._budget(ticket), ticket.holding.memory, self._load(ticket))
            rows.append(self._place(ticket, nodes, total))
            total += rows[-1].placement.segment.rows
        return rows

    def _budget(self, ticket: Ticket) -> Budget:
        return ticket.holding.budget.of(ticket.request.sampling is not None)

    def _load(self, ticket: Ticket) -> Load:
        """What the other open requests are likely to put into a pass that `ticket` takes part in."""
        others = sum(self._expected_rows(other) for other in self._open if other is not ticket)
        return Load(others, len(self._open) + len(self._waiting))

    def _place(self, ticket: Ticket, nodes: Ints, start: int) -> _Row:
        assert ticket.cells is not None
        while (placement := ticket.cells.place(nodes, start)) is None:
            nodes = nodes[: max(1, len(nodes) // 2)]
        return _Row(ticket, ticket.search.tree.frontier(nodes), placement)

    def _expected_rows(self, ticket: Ticket) -> int:
        prompt = len(ticket.request.prompt) if ticket.passes == 0 else 0
        return prompt + min(ticket.request.top_k, self.tree_cells)

    def _pack(self, rows: list[_Row]) -> Pack:
        heads = [row.placement.segment.start + row.placement.head for row in rows]
        counts = np.concatenate([row.frontier.counts for row in rows])
        return Pack(
            tokens=np.concatenate([row.placement.tokens for row in rows]),
            positions=np.concatenate([row.placement.positions for row in rows]),
            segments=[row.placement.segment for row in rows],
            heads=np.concatenate(heads),
            row=np.repeat(np.arange(len(counts)), counts),
            token=_wanted(rows),
        )

    def _settle(self, rows: list[_Row], values: Floats) -> Iterator[tuple[Ticket, SearchEvent]]:
        at = 0
        for row in rows:
            ticket = row.ticket
            own = values[at : at + len(row.frontier.children)]
            at += len(own)
            accepted = ticket.search.settle(row.frontier, own)
            ticket.passes += 1
            ticket.depths.append(len(accepted))
            ticket.rows += row.placement.segment.rows
            ticket.search.learn(self._budget(ticket), ticket.holding.memory, row.frontier, own, accepted)
            for beams in accepted:
                yield ticket, beams

    def _log(self, rows: list[_Row], total: int, ended_ns: int, pass_ns: int) -> None:
        """Note the pass for each of its searches; the first one leads it."""
        for row in rows:
            share = row.placement.segment.rows
            drafted = row.ticket.search.last_drafted
            record = PassRecord(ended_ns, pass_ns, share, drafted, total, len(rows), row is rows[0])
            row.ticket.pass_log.append(record)

    def _finish(self, rows: list[_Row]) -> list[tuple[Ticket, SearchEvent]]:
        ended: list[tuple[Ticket, SearchEvent]] = []
        for ticket in (row.ticket for row in rows):
            answer = ticket.search.answer
            if answer is None:
                continue
            total = time.perf_counter_ns() - ticket.opened_ns
            drafted, accepted = ticket.search.drafted_by_depth()
            result = SearchResult(
                leaves=ticket.holding.catalog.node_leaf(answer.nodes),
                log_probs=answer.log_probs,
                passes=ticket.passes,
                rows=ticket.rows,
                depths=tuple(ticket.depths),
                drafted_by_depth=tuple(drafted.tolist()),
                accepted_by_depth=tuple(accepted.tolist()),
                queue_ns=max(0, total - ticket.pass_ns - ticket.search_ns),
                pass_ns=ticket.pass_ns,
                search_ns=ticket.search_ns,
                advice=self._advice(ticket),
                pass_log=tuple(ticket.pass_log),
            )
            ended.append((ticket, result))
            self._close(ticket)
        return ended

    def _advice(self, ticket: Ticket) -> DraftAdvice:
        memory, load = ticket.holding.memory, self._load(ticket)
        return ticket.search.advice(self._budget(ticket), memory, load, self._draft_beams)

    def _close(self, ticket: Ticket) -> None:
        assert ticket.cells is not None
        self._open.remove(ticket)
        self._model.slots.give_back(ticket.cells.slot)

    def warm_up(self) -> None:
        """Take all memory and measure the pass-time curve; to be called once, before any search is opened."""
        most = min(MAX_PASS_ROWS, self._model.slots.cells)

        def run(rows: int) -> None:
            prompt = np.full(rows, self.catalog.trie.alphabet[0], np.int64)
            placement = Cells(self.catalog, 0, prompt, self._model.slots.cells).place(np.zeros(1, np.int64), 0)
            assert placement is not None
            heads = np.arange(max(0, rows - self._draft_beams), rows)
            none = np.zeros(1, np.int64)
            self._model.score(Pack(placement.tokens, placement.positions, [placement.segment], heads, none, none))

        self.budget.curve = PassCurve.measure(run, time.perf_counter_ns, most)


def _wanted(rows: list[_Row]) -> Ints:
    """Token ids of all children in turn; rows of one catalog, which is the rule, are looked up together."""
    tries = {id(row.ticket.holding): row.ticket.holding.catalog.trie for row in rows}
    if len(tries) == 1:
        (trie,) = tries.values()
        return trie.tokens(np.concatenate([row.frontier.children for row in rows]))
    return np.concatenate([row.ticket.holding.catalog.trie.tokens(row.frontier.children) for row in rows])
