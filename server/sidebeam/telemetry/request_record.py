"""What becomes known of one request on its way: for its line in the log, the metrics and its span."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidebeam.v1 import knowledge_pb2
from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.worker.v1 import target_pb2

if TYPE_CHECKING:
    from sidebeam.tracing import OpenSpan

Write = Callable[[pb.RecommendResponse], Awaitable[None]]
Field = str | int | float | None

SEARCHES = {pb.SEARCH_UNSPECIFIED: "beam", pb.SEARCH_BEAM: "beam", pb.SEARCH_EXACT: "exact"}
VERIFICATIONS = {
    pb.VERIFICATION_UNSPECIFIED: "strict",
    pb.VERIFICATION_STRICT: "strict",
    pb.VERIFICATION_RELAXED: "relaxed",
}
TEXT_VERIFICATIONS = {
    knowledge_pb2.TEXT_VERIFICATION_UNSPECIFIED: "exact",
    knowledge_pb2.TEXT_VERIFICATION_EXACT: "exact",
    knowledge_pb2.TEXT_VERIFICATION_RELAXED: "relaxed",
    knowledge_pb2.TEXT_VERIFICATION_SAMPLED: "sampled",
}
OTHER = "other"  # a value that no version of the API knows: callers must not be able to make new labels

_current: ContextVar[RequestRecord] = ContextVar("sidebeam_request_record")


@dataclass(slots=True)
class RequestRecord:
    """Filled by whoever learns something. Times are those of `time.perf_counter_ns`; 0: it never happened."""

    request_id: str
    method: str
    arrived_ns: int
    span: OpenSpan | None = None
    search: str = ""
    verification: str = ""
    top_k: int = 0
    prompt_tokens: int = 0
    seed: int | None = None
    first_provisional_ns: int = 0
    first_beams_ns: int = 0
    ended_ns: int = 0
    worker: str = ""
    attempts: int = 0
    final: pb.Final | None = None
    result: target_pb2.SearchResult | None = None
    summary: knowledge_pb2.Summary | None = None

    @property
    def traceparent(self) -> str:
        """What workers need to join the request's trace; empty if it is not traced."""
        return "" if self.span is None else self.span.traceparent

    @property
    def total_ns(self) -> int:
        """From arrival to end."""
        return self.ended_ns - self.arrived_ns

    def asks(self, request: pb.RecommendRequest) -> None:
        """Note what kind of answer is wanted, right or wrong."""
        self.search = SEARCHES.get(request.search, OTHER)
        self.verification = VERIFICATIONS.get(request.verification, OTHER)

    def asks_text(self, request: knowledge_pb2.GenerateRequest) -> None:
        """Note what kind of text is wanted, right or wrong."""
        self.verification = TEXT_VERIFICATIONS.get(request.verification, OTHER)

    def watch(self, write: Write) -> Write:
        """The same `write`; what passes through it is noted."""

        def watched(event: pb.RecommendResponse) -> Awaitable[None]:
            kind = event.WhichOneof("event")
            if kind == "final":
                self.final = event.final
            elif kind == "beams":
                self.first_beams_ns = self.first_beams_ns or time.perf_counter_ns()
            elif not self.first_provisional_ns:
                self.first_provisional_ns = time.perf_counter_ns()
            return write(event)

        return watched

    def sent_to(self, worker: str) -> None:
        """A target worker has the request now; with every replay one more."""
        self.worker = worker
        self.attempts += 1
        if self.span is not None and self.attempts > 1:
            self.span.event("replayed", time.perf_counter_ns(), {"worker": worker})

    def fields(self) -> dict[str, Field]:
        """What the request's line in the log says, beyond its id and its end."""
        found: dict[str, Field] = {}
        if self.worker:
            found = {"worker": self.worker, "attempts": self.attempts}
        if self.span is not None:
            found["trace_id"] = self.span.trace_id
        if self.final is not None:
            found |= self._answer(self.final)
        if self.summary is not None:
            found |= self._text(self.summary)
        return found

    def _text(self, summary: knowledge_pb2.Summary) -> dict[str, Field]:
        times = summary.times
        return {
            "prompt_tokens": self.prompt_tokens,
            "tokens": len(summary.token_ids),
            "verification": self.verification,
            "seed": self.seed,
            "stop": knowledge_pb2.TextStop.Name(summary.stop).removeprefix("TEXT_STOP_").lower(),
            "passes": summary.passes,
            "rows": summary.rows,
            "drafted": sum(tier.drafted for tier in summary.tiers),
            "accepted": sum(tier.accepted for tier in summary.tiers),
            "relaxed": len(summary.relaxed),
            "draft_note": summary.draft_note or None,
            "prompt_ms": _ms(times.prompt_ns),
            "admission_ms": _ms(times.admission_ns),
            "draft_ms": _ms(times.draft_ns),
            "queue_ms": _ms(times.queue_ns),
            "pass_ms": _ms(times.pass_ns),
            "search_ms": _ms(times.search_ns),
        }

    def _answer(self, final: pb.Final) -> dict[str, Field]:
        times = final.times
        return {
            "top_k": self.top_k,
            "prompt_tokens": self.prompt_tokens,
            "items": len(final.items),
            "search": self.search,
            "verification": self.verification,
            "seed": self.seed,
            "passes": final.passes,
            "rows": final.rows,
            "drafted": final.drafted,
            "accepted": final.accepted,
            "prompt_ms": _ms(times.prompt_ns),
            "admission_ms": _ms(times.admission_ns),
            "draft_ms": _ms(times.draft_ns),
            "queue_ms": _ms(times.queue_ns),
            "pass_ms": _ms(times.pass_ns),
            "search_ms": _ms(times.search_ns),
        }


def begin(record: RequestRecord) -> None:
    """Make this the record of the running request; every request has a context of its own."""
    _current.set(record)


def current() -> RequestRecord:
    """The record of the running request. Raises LookupError outside of one."""
    return _current.get()


def _ms(ns: int) -> float:
    return round(ns / 1e6, 3)
