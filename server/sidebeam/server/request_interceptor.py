"""Around every call of the public service: its id, its line in the log, and no internals in its errors."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import structlog
from grpc_status import rpc_status

from sidebeam.server.refusal import Refusal

REQUEST_ID = "x-request-id"
REQUEST_ID_CHARS = 128

Handler = Callable[[Any, Any], Awaitable[None]]


class RequestInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the server-streaming methods of `service`; other services pass through."""

    def __init__(self, service: str) -> None:
        self._prefix = f"/{service}/"

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Replace the handler by one that is watched."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(self._prefix):
            return handler
        inner: Any = handler.unary_stream
        rpc = handler_call_details.method.rpartition("/")[2]

        async def watched(request: Any, context: Any) -> None:
            await _watch(inner, rpc, request, context)

        return grpc.unary_stream_rpc_method_handler(
            watched,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


async def _watch(inner: Handler, rpc: str, request: Any, context: Any) -> None:
    started = time.perf_counter()
    request_id = _request_id(context)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id, rpc=rpc)
    log = structlog.get_logger()
    code = "OK"
    try:
        context.set_trailing_metadata(((REQUEST_ID, request_id),))  # initial metadata would cost one more message
        await inner(request, context)
    except Refusal as error:
        code = error.code.name
        structlog.contextvars.bind_contextvars(reason=str(error))
        await context.abort_with_status(rpc_status.to_status(error.status))
    except asyncio.CancelledError:  # the caller went away, its deadline passed, or the drain was too long
        code = "CANCELLED"
        raise
    except grpc.aio.AbortError:
        code = "ABORTED"
        raise
    except Exception:
        code = "INTERNAL"
        error_id = uuid.uuid4().hex[:12]
        log.exception("request_failed", error_id=error_id)
        await context.abort(grpc.StatusCode.INTERNAL, f"internal error {error_id}; the server's log says more")
    finally:
        log.info("request_finished", code=code, total_ms=round((time.perf_counter() - started) * 1e3, 3))


def _request_id(context: Any) -> str:
    """The caller's own id if it is fit for a log, else a new one."""
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID and isinstance(value, str) and _is_fit(value):
            return value
    return uuid.uuid4().hex


def _is_fit(value: str) -> bool:
    return 0 < len(value) <= REQUEST_ID_CHARS and value.isascii() and value.isprintable()
