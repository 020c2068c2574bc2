"""Around all other interceptors: what they make of a method's handler is made once, not for every call."""

from __future__ import annotations

from typing import Any

import grpc

from sidebeam.server.interception.guarded import Continuation


class MethodTable(grpc.aio.ServerInterceptor):
    """Keeps handlers by method. None of ours depends on anything else of a call, such as its metadata."""

    def __init__(self) -> None:
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler kept for the method, or the one that is made now; what no service knows is not kept."""
        method = handler_call_details.method
        kept = self._handlers.get(method)
        if kept is None and (kept := await continuation(handler_call_details)) is not None:
            self._handlers[method] = kept
        return kept
