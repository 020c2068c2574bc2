"""What a worker says about each piece of work: a debug line with the request's id, and a span if it is traced."""

from __future__ import annotations

import time

import structlog

from sidebeam.search.request import SearchResult
from sidebeam.texts import TextResult
from sidebeam.tracing import Attributes, Tracing
from sidebeam.worker.v1 import target_pb2


class WorkLog:
    """Told of work that has ended. `tracing` None: no spans."""

    def __init__(self, tracing: Tracing | None) -> None:
        self._tracing = tracing
        self._log = structlog.get_logger()

    def searched(self, opening: target_pb2.OpenSearch, opened_ns: int, result: SearchResult) -> None:
        """A search has its answer; passes are events of its span."""
        self._log.debug(
            "search_finished",
            request_id=opening.request_id,
            passes=result.passes,
            rows=result.rows,
            queue_ms=result.queue_ns / 1e6,
            pass_ms=result.pass_ns / 1e6,
            search_ms=result.search_ns / 1e6,
        )
        if self._tracing is None or not opening.traceparent:
            return
        attributes: Attributes = {
            "sidebeam.request_id": opening.request_id,
            "sidebeam.passes": result.passes,
            "sidebeam.rows": result.rows,
            "sidebeam.drafted": result.drafted,
            "sidebeam.accepted": result.accepted,
            "sidebeam.queue_ms": result.queue_ns / 1e6,
        }
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
        times = opened_ns, time.perf_counter_ns()
        self._tracing.record("search", opening.traceparent, times, attributes, events)

    def wrote(self, asked: target_pb2.WriteRequest, opened_ns: int, result: TextResult) -> None:
        """A text has ended."""
        self._log.debug(
            "text_finished",
            request_id=asked.request_id,
            tokens=len(result.tokens),
            passes=result.passes,
            rows=result.rows,
            queue_ms=result.queue_ns / 1e6,
            pass_ms=result.pass_ns / 1e6,
        )
        if self._tracing is None or not asked.traceparent:
            return
        attributes: Attributes = {
            "sidebeam.request_id": asked.request_id,
            "sidebeam.tokens": len(result.tokens),
            "sidebeam.passes": result.passes,
            "sidebeam.rows": result.rows,
            "sidebeam.drafted": result.drafted,
            "sidebeam.queue_ms": result.queue_ns / 1e6,
        }
        self._tracing.record("write", asked.traceparent, (opened_ns, time.perf_counter_ns()), attributes)

    def drafted(self, request_id: str, traceparent: str, times_ns: tuple[int, int], nodes: int) -> None:
        """A draft was made."""
        took_ms = (times_ns[1] - times_ns[0]) / 1e6
        self._log.debug("draft_finished", request_id=request_id, nodes=nodes, draft_ms=took_ms)
        if self._tracing is not None and traceparent:
            attributes: Attributes = {"sidebeam.request_id": request_id, "sidebeam.nodes": nodes}
            self._tracing.record("draft", traceparent, times_ns, attributes)
