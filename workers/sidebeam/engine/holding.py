"""One version of the catalog as an engine holds it, with all that was learned on it."""

from __future__ import annotations

from dataclasses import dataclass

from sidebeam.catalog import Catalog
from sidebeam.search import Budget, Memory, SearchRequest


@dataclass(slots=True, eq=False)
class Holding:
    """Memory and budget speak of nodes and drafts of this catalog alone: no other version ever sees them."""

    catalog: Catalog
    memory: Memory
    budget: Budget


@dataclass(frozen=True, slots=True)
class HeldSearch:
    """A search of one of the versions that are held."""

    request: SearchRequest
    holding: Holding
