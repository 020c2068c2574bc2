"""OpenTelemetry traces of the front server and its workers. OpenTelemetry is imported only where one is opened."""

from sidebeam.tracing.tracing import Attributes, Event, OpenSpan, Tracing, TracingError, open_tracing

__all__ = ["Attributes", "Event", "OpenSpan", "Tracing", "TracingError", "open_tracing"]
