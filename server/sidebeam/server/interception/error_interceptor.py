"""Around every call of our own services: a caller never sees what is inside."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import grpc
import structlog
from grpc_status import rpc_status

from sidebeam.server.interception.guarded import Behaviour, Continuation, guarded
from sidebeam.server.refusals.refusal import Refusal


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Ends calls as a Refusal says; any other error becomes an id, which the log explains.

    The outermost of all that act in a call: what an interceptor further in has told the caller already passes through.
    """

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Replace the handler by one whose errors are told in our words."""
        return await guarded(_told, continuation, handler_call_details)


def _told(inner: Behaviour) -> Behaviour:
    async def told(request: Any, context: Any) -> Any:
        try:
            try:
                return await inner(request, context)
            except Refusal as error:
                await context.abort_with_status(rpc_status.to_status(error.status))
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except grpc.aio.InternalError as error:  # nothing could be sent, not even this: the caller is gone
            raise asyncio.CancelledError from error
        except Exception:
            await fail(context)

    return told


async def fail(context: Any) -> None:
    """To be called while an unexpected error is handled: log it, and end the call with nothing but an id."""
    error_id = uuid.uuid4().hex[:12]
    structlog.get_logger().exception("request_failed", error_id=error_id)
    await context.abort(grpc.StatusCode.INTERNAL, f"internal error {error_id}; the server's log says more")
