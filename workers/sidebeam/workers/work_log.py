"""What a worker says about each piece of work: a debug line with the request's id, and a span if it is traced."""

from __future__ import annotations

import time
from collections.abc import Iterable

import structlog

from sidebeam.search.request import SearchResult
from sidebeam.texts import TextResult
from sidebeam.tracing import Attributes, Event, Tracing
from sidebeam.worker.v1 import target_pb2


class WorkLog:
    """Told of work that has ended. `tracing` None: no spans."""

    def __init__(self, tracing: Tracing | None) -> None:
        self._tracing = tracing
        self._log = structlog.get_logger()

    def searched(self, opening: target_pb2.OpenSearch, opened_ns: int, result: SearchResult) -> None:
        """A search has its answer; passes are events of its span."""
        more: Attributes = {"accepted": result.accepted, "search_ms": result.search_ns / 1e6}
        events = (
            (
                "pass",
                each.ended_ns,
                {
                    "pass_ms": each.pass_ns / 1e6,
                    "rows": each.rows,
                    "drafted": each.drafted,
                    "batch_rows": each.batch_rows,
                    "batch_searches": each.batch_searches,
                    "depths": depths,
                },
            )
            for each, depths in zip(result.pass_log, result.depths, strict=True)
        )
        self._ended("search", opening, opened_ns, result, more, events)

    def wrote(self, asked: target_pb2.WriteRequest, opened_ns: int, result: TextResult) -> None:
        """A text has ended."""
        self._ended("write", asked, opened_ns, result, {"tokens": len(result.tokens)})

    def _ended(
        self,
        work: str,
        asked: target_pb2.OpenSearch | target_pb2.WriteRequest,
        opened_ns: int,
        result: SearchResult | TextResult,
        more: Attributes,
        events: Iterable[Event] = (),
    ) -> None:
        told: Attributes = {
            "request_id": asked.request_id,
            "passes": result.passes,
            "rows": result.rows,
            "drafted": result.drafted,
            "queue_ms": result.queue_ns / 1e6,
            "pass_ms": result.pass_ns / 1e6,
            **more,
        }
        self._log.debug(f"{work}_finished", **told)
        if self._tracing is not None and asked.traceparent:
            attributes = {f"sidebeam.{name}": value for name, value in told.items()}
            times = opened_ns, time.perf_counter_ns()
            self._tracing.record(work, asked.traceparent, times, attributes, events)

    def drafted(self, request_id: str, traceparent: str, times_ns: tuple[int, int], nodes: int) -> None:
        """A draft was made."""
        took_ms = (times_ns[1] - times_ns[0]) / 1e6
        self._log.debug("draft_finished", request_id=request_id, nodes=nodes, draft_ms=took_ms)
        if self._tracing is not None and traceparent:
            attributes: Attributes = {"sidebeam.request_id": request_id, "sidebeam.nodes": nodes}
            self._tracing.record("draft", traceparent, times_ns, attributes)
