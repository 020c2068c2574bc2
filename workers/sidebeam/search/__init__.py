"""Where decoding is decided: scored tree, contracts, drafters, budget. NumPy only; it knows log-probs, not models.

One device-to-host copy a pass brings the log-probs of live children here. Selecting among them takes tens of
microseconds on the host, less than launching the same selection on an accelerator would.
"""

from sidebeam.search.budget import Budget, Load
from sidebeam.search.coverage import Coverage
from sidebeam.search.draft_beams import Width
from sidebeam.search.memory import Memory
from sidebeam.search.pass_curve import PassCurve
from sidebeam.search.request import (
    AcceptedBeams,
    DraftAdvice,
    DraftSettings,
    DraftTree,
    DraftWanted,
    Sampling,
    SearchEvent,
    SearchRequest,
    SearchResult,
)
from sidebeam.search.scored_tree import ScoredTree
from sidebeam.search.search import Search

__all__ = [
    "AcceptedBeams",
    "Budget",
    "Coverage",
    "DraftAdvice",
    "DraftSettings",
    "DraftTree",
    "DraftWanted",
    "Load",
    "Memory",
    "PassCurve",
    "Sampling",
    "ScoredTree",
    "Search",
    "SearchEvent",
    "SearchRequest",
    "SearchResult",
    "Width",
]
