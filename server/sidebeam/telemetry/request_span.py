"""A request's span, finished from its record. Drafts and searches are spans that the workers send themselves."""

from __future__ import annotations

from sidebeam.telemetry.request_record import RequestRecord
from sidebeam.tracing import OpenSpan


def end(record: RequestRecord, span: OpenSpan, code: str) -> None:
    """End the span of a request that ended with `code`, with a child for its admission."""
    attributes: dict[str, str | int | float] = {
        "rpc.system": "grpc",
        "rpc.grpc.status_code": code,
        "sidebeam.request_id": record.request_id,
    }
    if record.final is not None:
        times = record.final.times
        read_at = record.arrived_ns + times.prompt_ns
        span.child("admission", (read_at, read_at + times.admission_ns))
        attributes |= {
            "sidebeam.search": record.search,
            "sidebeam.verification": record.verification,
            "sidebeam.top_k": record.top_k,
            "sidebeam.prompt_tokens": record.prompt_tokens,
            "sidebeam.passes": record.final.passes,
            "sidebeam.rows": record.final.rows,
            "sidebeam.drafted": record.final.drafted,
            "sidebeam.accepted": record.final.accepted,
        }
    for name, at_ns in (("first_provisional", record.first_provisional_ns), ("first_beams", record.first_beams_ns)):
        if at_ns:
            span.event(name, at_ns, {})
    span.end(attributes, "" if code == "OK" else code)
