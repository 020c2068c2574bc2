"""What is asked of a search, and what it answers: plain values, shared by engine, workers and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Contract = Literal["beam", "exact"]
"""`beam`: what beam search of width K returns. `exact`: the K best items of the catalog under the model."""

Scoring = Literal["raw", "catalog"]
"""`raw`: log-softmax over the vocabulary. `catalog`: renormalised over the live children of each node."""

DraftMode = Literal["auto", "off", "explicit"]

Drafter = Literal["model", "catalog"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DraftSettings:
    """How one request is drafted; never changes its answer.

    `beams` is AtSpeed's N and `length` its γ; both count only in mode `explicit`.
    """

    mode: DraftMode = "auto"
    drafter: Drafter = "model"
    beams: int = 0
    length: int = 0


@dataclass(frozen=True, slots=True)
class DraftTree:
    """Drafted catalog nodes with their cumulative draft log-probs; a node's parent is in the tree or a start beam."""

    nodes: Ints  # [n]
    log_probs: Floats  # [n]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How relaxed verification draws beams (AtSpeed, Algorithm 2); the same seed draws the same ones.

    At each depth K candidates are drawn without replacement with probabilities proportional to
    exp(cumulative log-prob / `temperature`), among the `top_k` most likely ones; 0: among all.
    """

    temperature: float = 1.0
    top_k: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One recommendation in the words of the search.

    `prompt` holds token ids; `excluded` ascending leaf indices without repeats, or None; `tree` a first draft that
    rides in the same pass as the prompt. `sampling` None is strict verification: the K best at each depth.
    """

    prompt: Ints  # [P]
    top_k: int
    contract: Contract = "beam"
    excluded: Ints | None = None
    draft: DraftSettings = field(default_factory=DraftSettings)
    tree: DraftTree | None = None
    sampling: Sampling | None = None
    draft_ns: int = 0  # what making `tree` took, so that the budget can weigh it


@dataclass(frozen=True, slots=True)
class AcceptedBeams:
    """The beams of one depth, best first."""

    depth: int
    nodes: Ints  # [k]
    log_probs: Floats  # [k]


@dataclass(frozen=True, slots=True)
class DraftWanted:
    """The search would like a draft of `length` levels and width `beams` below `start`'s nodes."""

    start: AcceptedBeams
    beams: int
    length: int


@dataclass(frozen=True, slots=True)
class DraftAdvice:
    """The draft that pays at present for requests of this width; `beams` 0: none does."""

    beams: int
    length: int


class PassRecord(NamedTuple):
    """One pass as one search saw it; a tuple, for one is made for every search of every pass."""

    ended_ns: int  # time.perf_counter_ns
    pass_ns: int
    rows: int  # of this search
    drafted: int  # those that a drafter proposed
    batch_rows: int  # of all searches together
    batch_searches: int
    leads: bool  # exactly one search speaks for each pass


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer and what it cost. Times are nanoseconds.

    `depths` says how many depths each pass brought, L in all; the two counts by depth start at depth 1 and hold no
    leaves, which nobody drafts.
    """

    leaves: Ints  # [k] catalog leaf indices, best first
    log_probs: Floats  # [k]
    passes: int
    rows: int
    depths: tuple[int, ...]  # [passes]
    drafted_by_depth: tuple[int, ...]  # [L - 1]
    accepted_by_depth: tuple[int, ...]  # [L - 1] those that the answer needed
    queue_ns: int
    pass_ns: int
    search_ns: int
    advice: DraftAdvice
    pass_log: tuple[PassRecord, ...]  # [passes]

    @property
    def drafted(self) -> int:
        """Drafted nodes in all."""
        return sum(self.drafted_by_depth)

    @property
    def accepted(self) -> int:
        """Drafted nodes that the answer needed."""
        return sum(self.accepted_by_depth)


SearchEvent = AcceptedBeams | DraftWanted | SearchResult
