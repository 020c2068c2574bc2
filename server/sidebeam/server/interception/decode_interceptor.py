"""Around every method: bytes that are no message of its type are the caller's mistake, not the server's."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from sidebeam.server.interception.guarded import OURS, Continuation, Decode, wrapped
from sidebeam.server.refusals.refusal import Refusal, undecodable


@dataclass(frozen=True, slots=True)
class _Undecodable:
    """Stands for a request: gRPC would end a call whose deserializer raises with UNKNOWN and a traceback."""

    why: str


class DecodeInterceptor(grpc.aio.ServerInterceptor):
    """Ends such calls with INVALID_ARGUMENT.

    The innermost of all. Those of our own services raise Refusal, so that they are logged and counted as all others;
    nobody is around health and reflection, whose callers are told here.
    """

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Replace the handler by one that bears any bytes."""
        handler: Any = await continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None:
            return handler  # type: ignore[no-any-return]
        guard = _many if handler.request_streaming else _one
        is_ours = handler_call_details.method.startswith(OURS)
        decode = _tolerant(handler.request_deserializer)
        return wrapped(handler, lambda behaviour: guard(behaviour, is_ours), decode)


def _tolerant(decode: Decode) -> Decode:
    def tolerant(data: bytes) -> Any:
        try:
            return decode(data)
        except DecodeError as error:
            return _Undecodable(str(error))

    return tolerant


def _one(behaviour: Any, is_ours: bool) -> Any:
    async def one(request: Any, context: Any) -> Any:
        if isinstance(request, _Undecodable):
            await _refuse(request, context, is_ours)
        return await behaviour(request, context)

    return one


def _many(behaviour: Any, is_ours: bool) -> Any:
    """A handler of a request stream: a generator of responses, or a coroutine that writes them."""

    async def readable(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            if isinstance(request, _Undecodable):
                await _refuse(request, context, is_ours)
            yield request

    if not inspect.isasyncgenfunction(behaviour):

        async def many(requests: AsyncIterator[Any], context: Any) -> Any:
            return await behaviour(readable(requests, context), context)

        return many

    async def stream(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for response in behaviour(readable(requests, context), context):
            yield response

    return stream


async def _refuse(request: _Undecodable, context: Any, is_ours: bool) -> None:
    refusal: Refusal = undecodable(request.why)
    if is_ours:
        raise refusal
    await context.abort_with_status(rpc_status.to_status(refusal.status))
