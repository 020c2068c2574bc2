"""The channels that requests go over, and whether anything answers at their end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from random import Random
from types import TracebackType
from typing import Any, Self

import grpc

from sidebeam.client import InvalidRequest
from sidebeam.client._errors import from_rpc_error
from sidebeam.load.error import LoadError, Unanswered
from sidebeam.load.mix import Mix
from sidebeam.load.options import Options
from sidebeam.v1 import recommendation_pb2_grpc

CONNECT_S = 5.0
MOST_TRIED = 20  # entries of a mix, before a run
FATAL = frozenset({"UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED", "UNAVAILABLE"})

_CHANNEL_ARGS: dict[str, Any] = {
    "grpc.enable_retries": 0,  # a retry would hide a failure, and be a request that nobody asked for
    "grpc.use_local_subchannel_pool": 1,  # or several channels to one address would share a connection
    "grpc.service_config": '{"loadBalancingConfig": [{"round_robin": {}}]}',  # over all addresses of a name
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1_000,
    "grpc.max_receive_message_length": 32 * 1024 * 1024,
}


class Channels:
    """Channels to one address, open within the `async with` block."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._open = AsyncExitStack()
        self.recommends: list[Callable[..., Any]] = []

    async def __aenter__(self) -> Self:
        """Connect. Raises Unanswered if nobody is there within five seconds."""
        there, arguments = self._options.connection, tuple(_CHANNEL_ARGS.items())
        for _ in range(self._options.connections):
            channel = there.channel(arguments)
            await self._open.enter_async_context(channel)
            try:
                await asyncio.wait_for(channel.channel_ready(), CONNECT_S)
            except TimeoutError:
                await self._open.aclose()
                refused = "" if there.credentials is None else ", or one side refuses the other's certificate"
                raise Unanswered(f"{there.address}: no sidecar answers there within {CONNECT_S:g} s{refused}") from None
            stub = recommendation_pb2_grpc.RecommendationServiceStub(channel)  # type: ignore[no-untyped-call]
            self.recommends.append(stub.Recommend)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def try_out(self, mix: Mix) -> None:
        """Ask the first entries of the mix once each, so that a run does not find out what one request could tell.

        Raises LoadError for a request that the server finds invalid, Unanswered if it takes none at all. Other errors,
        as of an overloaded server, are the run's to count.
        """
        options, random = self._options, Random(f"{self._options.seed} tried")
        for entry in mix.entries[:MOST_TRIED]:
            request = mix.ask(entry, random).request
            call = self.recommends[0](request, timeout=options.timeout_ms / 1e3, metadata=options.metadata)
            try:
                async for _ in call:
                    pass
            except grpc.aio.AioRpcError as error:
                told = from_rpc_error(
                    error, address=options.connection.address, request_id="", timeout_s=options.timeout_ms / 1e3
                )
                if isinstance(told, InvalidRequest):
                    raise LoadError(f"{entry.place}: the server finds the request invalid: {_reasons(told)}") from None
                if told.code.name in FATAL:
                    raise Unanswered(f"{options.connection.address}: {told.code.name}: {told}") from None
            finally:
                call.cancel()


def _reasons(error: InvalidRequest) -> str:
    return "; ".join(map(str, error.violations)) or str(error)
