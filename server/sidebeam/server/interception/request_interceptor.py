"""Around every call of the public service: its record, its line in the log, and no internals in its errors."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import structlog
from grpc_status import rpc_status

from sidebeam.server.interception import error_interceptor
from sidebeam.server.refusals.refusal import Refusal
from sidebeam.telemetry import request_record, request_span
from sidebeam.telemetry.metrics import Metrics
from sidebeam.telemetry.request_record import RequestRecord
from sidebeam.tracing import Tracing

REQUEST_ID = "x-request-id"
REQUEST_ID_CHARS = 128
PUSHBACK = "grpc-retry-pushback-ms"

NAMES = {code.value[0]: code.name for code in grpc.StatusCode}

Handler = Callable[[Any, Any], Awaitable[None]]


class RequestInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the server-streaming methods of `service`; other services pass through. `tracing` None: no spans."""

    def __init__(self, service: str, metrics: Metrics, tracing: Tracing | None) -> None:
        self._service = service
        self._metrics = metrics
        self._tracing = tracing
        self._log = structlog.get_logger()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Replace the handler by one that is watched."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(f"/{self._service}/"):
            return handler
        inner: Any = handler.unary_stream
        rpc = handler_call_details.method.rpartition("/")[2]

        async def watched(request: Any, context: Any) -> None:
            await self._watch(inner, rpc, request, context)

        return grpc.unary_stream_rpc_method_handler(
            watched,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    async def _watch(self, inner: Handler, rpc: str, request: Any, context: Any) -> None:
        record = self._begin(rpc, context)
        code, reason, said = "OK", "", {}
        try:
            # Initial metadata would cost one more message.
            context.set_trailing_metadata(((REQUEST_ID, record.request_id),))
            await inner(request, context)
        except Refusal as error:
            code, reason, said = error.code.name, error.reason, {"reason": str(error)}
            status = rpc_status.to_status(error.status)
            details = (*status.trailing_metadata, (REQUEST_ID, record.request_id))
            if error.retry_after_ms is not None:  # heard by gRPC clients that retry by their service config
                details += ((PUSHBACK, str(error.retry_after_ms)),)
            await context.abort(status.code, status.details, details)
        except asyncio.CancelledError:  # the caller went away, its deadline passed, or the drain was too long
            code = "CANCELLED"
            raise
        except grpc.aio.AbortError:
            code = _name(context.code())
            raise
        except grpc.aio.InternalError as error:  # nothing could be sent: the caller went away without a word
            code = "CANCELLED"
            raise asyncio.CancelledError from error
        except Exception:
            code = "INTERNAL"
            await error_interceptor.fail(context)
        finally:
            record.ended_ns = time.perf_counter_ns()
            self._metrics.finished(record, code, reason)
            total_ms = round(record.total_ns / 1e6, 3)
            self._log.info("request_finished", code=code, **said, total_ms=total_ms, **record.fields())
            if record.span is not None:
                request_span.end(record, record.span, code)

    def _begin(self, rpc: str, context: Any) -> RequestRecord:
        """The record of a request that has just come, and its id for all log lines that belong to it."""
        arrived_ns = time.perf_counter_ns()
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        request_id = metadata.get(REQUEST_ID, "")
        record = RequestRecord(request_id if _is_fit(request_id) else uuid.uuid4().hex, rpc, arrived_ns)
        if self._tracing is not None:
            record.span = self._tracing.open(f"{self._service}/{rpc}", metadata, arrived_ns)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=record.request_id, rpc=rpc)
        request_record.begin(record)
        return record


def _name(code: grpc.StatusCode | int) -> str:
    """A context that was aborted knows its code by number."""
    return code.name if isinstance(code, grpc.StatusCode) else NAMES.get(code, "UNKNOWN")


def _is_fit(value: str) -> bool:
    """Whether a caller's own id may stand in a log."""
    return 0 < len(value) <= REQUEST_ID_CHARS and value.isascii() and value.isprintable()
