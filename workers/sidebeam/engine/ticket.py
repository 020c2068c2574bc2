"""A request on its way through the engine."""

from __future__ import annotations

from dataclasses import dataclass, field

from sidebeam.engine.cells import Cells
from sidebeam.engine.holding import Holding
from sidebeam.search import Search, SearchRequest
from sidebeam.search.request import PassRecord


@dataclass(slots=True, eq=False)
class Ticket:
    """State between passes; owned by the engine's thread. Times are nanoseconds."""

    request: SearchRequest
    holding: Holding
    opened_ns: int
    search: Search
    cells: Cells | None = None
    awaits_draft: bool = False
    passes: int = 0
    rows: int = 0
    pass_ns: int = 0
    search_ns: int = 0
    depths: list[int] = field(default_factory=list)  # accepted by each pass
    pass_log: list[PassRecord] = field(default_factory=list)
