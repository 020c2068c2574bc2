"""Spans of requests, drafts and searches, sent to an OTLP collector.

Hot paths measure times anyway; spans are made of them afterwards, all at once. Only a request's own span is opened
when it begins, for its id must reach the workers. Times are those of `time.perf_counter_ns`, in nanoseconds.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

TRACEPARENT = "traceparent"
FLUSH_MS = 2_000  # at the end of a process; a collector that is gone must not hold it up
EXPORT_S = 2  # one attempt to reach the collector

Attributes = Mapping[str, str | int | float]
Event = tuple[str, int, Attributes]
"""Name, time and attributes."""


class TracingError(ValueError):
    """Traces cannot be sent; the text says why."""


def open_tracing(endpoint: str, process: str, share: float) -> Tracing | None:
    """Tracing of this process to an OTLP collector at `endpoint`, None for an empty one. Raises TracingError.

    `share` is that of requests whose caller has not decided; the callers' own decisions are kept.
    """
    if not endpoint:
        return None
    if urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).netloc:
        raise TracingError(f"telemetry.traces must be http://HOST:PORT or https://HOST:PORT; given {endpoint!r}")
    try:
        return Tracing(_provider(endpoint, process, share))
    except ModuleNotFoundError as error:
        raise TracingError(
            f"telemetry.traces needs the extra 'tracing': pip install 'sidebeam[tracing]' (no module {error.name!r})"
        ) from error


class Tracing:
    """Makes spans; safe to use from several threads."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("sidebeam", importlib.metadata.version("sidebeam"))
        self._propagator = TraceContextTextMapPropagator()

    def open(self, name: str, carrier: Mapping[str, str], started_ns: int) -> OpenSpan:
        """A request's span, a child of the W3C context in `carrier` if there is one."""
        from opentelemetry.trace import SpanKind

        context = self._propagator.extract(carrier)
        span = self._tracer.start_span(name, context, kind=SpanKind.SERVER, start_time=started_ns + _to_wall_ns())
        return OpenSpan(self, span)

    def record(
        self,
        name: str,
        traceparent: str,
        times_ns: tuple[int, int],
        attributes: Attributes,
        events: Iterable[Event] = (),
    ) -> None:
        """A span that is already over, below the span `traceparent`; nothing if that is empty."""
        if traceparent:
            self.child(name, self._propagator.extract({TRACEPARENT: traceparent}), times_ns, attributes, events)

    def child(
        self,
        name: str,
        context: Context,
        times_ns: tuple[int, int],
        attributes: Attributes,
        events: Iterable[Event] = (),
    ) -> None:
        """A span that is already over, below that of `context`."""
        to_wall = _to_wall_ns()
        span = self._tracer.start_span(name, context, start_time=times_ns[0] + to_wall, attributes=dict(attributes))
        for event, at_ns, details in events:
            span.add_event(event, dict(details), at_ns + to_wall)
        span.end(times_ns[1] + to_wall)

    def traceparent(self, context: Context) -> str:
        """The W3C header of the span in `context`."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, context)
        return carrier.get(TRACEPARENT, "")

    def close(self) -> None:
        """Send what is left, for two seconds at most."""
        self._provider.force_flush(FLUSH_MS)
        self._provider.shutdown()


class OpenSpan:
    """A request's span, from its beginning to its end. `traceparent` is empty if it is not sampled."""

    def __init__(self, tracing: Tracing, span: Span) -> None:
        from opentelemetry.trace import set_span_in_context

        self._tracing = tracing
        self._span = span
        self._context = set_span_in_context(span)
        own = span.get_span_context()
        self.trace_id = f"{own.trace_id:032x}"
        self.traceparent = tracing.traceparent(self._context) if own.trace_flags.sampled else ""

    def child(self, name: str, times_ns: tuple[int, int]) -> None:
        """A stage of the request that is already over."""
        self._tracing.child(name, self._context, times_ns, {})

    def event(self, name: str, at_ns: int, attributes: Attributes) -> None:
        """Something that happened at a moment."""
        self._span.add_event(name, dict(attributes), at_ns + _to_wall_ns())

    def end(self, attributes: Attributes, error: str) -> None:
        """End it now; `error` says what went wrong, and is empty if nothing did."""
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attributes(dict(attributes))
        if error:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end()


def _provider(endpoint: str, process: str, share: float) -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    own: dict[str, Any] = {"service.name": "sidebeam", "service.instance.id": process}
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(share)), resource=Resource.create(own), shutdown_on_exit=False
    )
    exporter = OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"), timeout=EXPORT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _to_wall_ns() -> int:
    """What turns a time of `perf_counter_ns` into one since 1970."""
    return time.time_ns() - time.perf_counter_ns()
