"""Searches and texts over one model and one set of KV slots."""

from __future__ import annotations

from collections.abc import Callable

from sidebeam.engine.engine import Engine
from sidebeam.engine.holding import HeldSearch
from sidebeam.engine.ticket import Ticket
from sidebeam.search import DraftTree, SearchEvent, SearchRequest
from sidebeam.texts.engine import TextEngine
from sidebeam.texts.request import TextEvent, TextRequest
from sidebeam.texts.ticket import TextTicket


class JointEngine:
    """Two engines of one model as one: their passes take turns, so a search waits for one pass of texts at most.

    Both take slots as they come; `max_open` of the text engine leaves some to searches.
    """

    def __init__(self, searches: Engine, texts: TextEngine) -> None:
        self.searches = searches
        self.texts = texts
        self._texts_next = False

    @property
    def is_idle(self) -> bool:
        """Whether a step would find nothing to do."""
        return self.searches.is_idle and self.texts.is_idle

    def open(self, request: SearchRequest | HeldSearch | TextRequest) -> Ticket | TextTicket:
        """Start a search or a text. Raises ValueError as its engine does."""
        return self.texts.open(request) if isinstance(request, TextRequest) else self.searches.open(request)

    def cancel(self, ticket: Ticket | TextTicket) -> None:
        """Drop a search or a text; ended ones are let be."""
        if isinstance(ticket, TextTicket):
            self.texts.cancel(ticket)
        else:
            self.searches.cancel(ticket)

    def draft(self, ticket: Ticket, tree: DraftTree | None) -> None:
        """Answer a search's DraftWanted; None: nothing to offer."""
        self.searches.draft(ticket, tree)

    def step(
        self, on_packed: Callable[[], None] = lambda: None
    ) -> list[tuple[Ticket, SearchEvent]] | list[tuple[TextTicket, TextEvent]]:
        """One pass of the engine whose turn it is, or of the other if that one has nothing to do."""
        texts = self.searches.is_idle or (self._texts_next and not self.texts.is_idle)
        self._texts_next = not texts
        return self.texts.step(on_packed) if texts else self.searches.step(on_packed)

    def warm_up(self) -> None:
        """Both engines' warm-up; to be called once, before anything is opened."""
        self.searches.warm_up()
        self.texts.warm_up()
