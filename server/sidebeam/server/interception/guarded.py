"""A method's handler with something around it, whatever streams it has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

Behaviour = Callable[[Any, Any], Awaitable[Any]]
Wrap = Callable[[Behaviour], Behaviour]
Decode = Callable[[bytes], Any]
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]]

OURS = "/sidebeam."
"""How the paths of our own methods begin; health and reflection are open to all, and are not ours."""

KINDS: dict[str, Callable[..., Any]] = {
    "unary_unary": grpc.unary_unary_rpc_method_handler,
    "unary_stream": grpc.unary_stream_rpc_method_handler,
    "stream_unary": grpc.stream_unary_rpc_method_handler,
    "stream_stream": grpc.stream_stream_rpc_method_handler,
}


async def guarded(
    wrap: Wrap, continuation: Continuation, details: grpc.HandlerCallDetails
) -> grpc.RpcMethodHandler[Any, Any] | None:
    """The handler that `continuation` finds; if it is one of ours, with `wrap` around its behaviour."""
    handler = await continuation(details)
    if handler is None or not details.method.startswith(OURS):
        return handler
    return wrapped(handler, wrap)


def wrapped(handler: Any, wrap: Wrap, decode: Decode | None = None) -> grpc.RpcMethodHandler[Any, Any]:
    """The same method with `wrap` around its behaviour and, if given, another deserializer of requests."""
    kind = next(kind for kind in KINDS if getattr(handler, kind) is not None)
    made: grpc.RpcMethodHandler[Any, Any] = KINDS[kind](
        wrap(getattr(handler, kind)),
        request_deserializer=decode or handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
    return made
