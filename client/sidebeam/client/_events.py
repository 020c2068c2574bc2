"""What a stream yields: plain immutable values, made from the protos."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sidebeam.client._request import Sampling
from sidebeam.v1 import recommendation_pb2 as pb


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a ranking; `log_prob` is natural and belongs to the item's whole SID, `rank` is 1 for the best.

    `verified` is how many tokens of the SID the target has accepted in its beams: all of them, unless the deadline cut
    the search short, and none in a Provisional.
    """

    item_id: str
    sid: tuple[str, ...]
    log_prob: float
    rank: int
    verified: int


@dataclass(frozen=True, slots=True)
class Beam:
    """One SID prefix and its log-prob under the target model."""

    sid: tuple[str, ...]
    log_prob: float


@dataclass(frozen=True, slots=True)
class Provisional:
    """The drafter's best guess, best first, not verified: good for prefetching. Its log-probs are the draft's."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Beams:
    """The beams the target model accepted at one depth, best first; each holds `depth` SID tokens."""

    depth: int
    beams: tuple[Beam, ...]


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Milliseconds spent in each stage, as each process measured its own. Stages overlap: they need not sum up."""

    prompt_ms: float
    """Validation, prompt building and tokenization."""
    admission_ms: float
    """Waiting for the rate ceiling."""
    draft_ms: float
    """The draft worker's proposals."""
    queue_ms: float
    """Waiting for a KV slot and for running passes to end."""
    pass_ms: float
    """Inside target passes."""
    search_ms: float
    """Selection and packing."""
    total_ms: float
    """From the request's arrival to the answer."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The answer: ranked items, best first, and what they cost.

    `rows` counts the prompt tokens and tree nodes put into `passes` target passes; of `drafted` nodes `accepted` were
    needed. `scoring` is "raw" or "catalog", `search` is "beam" or "exact". `sampling` says how items were drawn, with
    the seed; None: the best ones were taken. `cut_short`: the deadline came before the end of the search; these are the
    best items known by then, and what they cost is not told.
    """

    items: tuple[Item, ...]
    passes: int
    rows: int
    drafted: int
    accepted: int
    scoring: str
    search: str
    catalog_version: str
    times: StageTimes
    request_id: str
    sampling: Sampling | None = None
    cut_short: bool = False


Event = Provisional | Beams | Recommendation
"""What a stream yields: at most one Provisional, one Beams per depth in ascending order, the Recommendation last."""


def from_response(response: pb.RecommendResponse) -> Event | None:
    """Return the event in `response`, None for a kind this version does not know."""
    kind = response.WhichOneof("event")
    if kind == "provisional":
        return Provisional(_items(response.provisional.items))
    if kind == "beams":
        beams = tuple(Beam(tuple(beam.sid), beam.log_prob) for beam in response.beams.beams)
        return Beams(response.beams.depth, beams)
    if kind == "final":
        return from_final(response.final, request_id=response.final.request_id)
    return None


def from_final(final: pb.Final, *, request_id: str) -> Recommendation:
    """Return the answer that `final` carries."""
    return Recommendation(
        items=_items(final.items),
        passes=final.passes,
        rows=final.rows,
        drafted=final.drafted,
        accepted=final.accepted,
        scoring=word("SCORING_", final.scoring, pb.Scoring.items()),
        search=word("SEARCH_", final.search, pb.Search.items()),
        catalog_version=final.catalog_version,
        times=stage_times(final.times),
        request_id=request_id,
        sampling=_sampling(final.sampling) if final.verification == pb.VERIFICATION_RELAXED else None,
        cut_short=final.cut_short,
    )


def _sampling(drawn: pb.Sampling) -> Sampling:
    return Sampling(drawn.temperature, drawn.top_k or None, drawn.seed)


def _items(items: Iterable[pb.Item]) -> tuple[Item, ...]:
    return tuple(Item(item.item_id, tuple(item.sid), item.log_prob, item.rank, item.verified) for item in items)


def stage_times(times: pb.StageTimes) -> StageTimes:
    """Return the times in milliseconds."""
    return StageTimes(
        prompt_ms=times.prompt_ns / 1e6,
        admission_ms=times.admission_ns / 1e6,
        draft_ms=times.draft_ns / 1e6,
        queue_ms=times.queue_ns / 1e6,
        pass_ms=times.pass_ns / 1e6,
        search_ms=times.search_ns / 1e6,
        total_ms=times.total_ns / 1e6,
    )


def word(prefix: str, number: int, names: Iterable[tuple[str, int]]) -> str:
    """Return an enum's word as users write it; a number that this version does not know stays a number."""
    return next((name.removeprefix(prefix).lower() for name, value in names if value == number), str(number))
