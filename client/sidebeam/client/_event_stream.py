"""One streaming call: opened by `async with`, read by `async for`, cancelled on the way out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import grpc
from asyncio_throttle import Throttler

from sidebeam.client._errors import DeadlineExceeded, ServerError, from_rpc_error
from sidebeam.client._events import Event, Recommendation, from_final, from_response
from sidebeam.v1 import recommendation_pb2 as pb

Recommend = Callable[..., "grpc.aio.UnaryStreamCall[pb.RecommendRequest, pb.RecommendResponse]"]


@dataclass(frozen=True, slots=True)
class Plan:
    """A call that is ready to be made; `timeout_s` covers the wait for the caller's own rate limit, too."""

    address: str
    request: pb.RecommendRequest
    request_id: str
    timeout_s: float
    rate_limit: Throttler | None


class EventStream:
    """The events of one call, in the order in which the sidecar sends them.

        async with client.stream(history=["12", "55"]) as events:
            async for event in events:
                ...

    Leaving the block cancels what is left of the call. Raises SidebeamError while it is entered or read.
    """

    def __init__(self, recommend: Callable[[], Recommend], plan: Plan) -> None:
        self._recommend = recommend
        self._plan = plan
        self._call: grpc.aio.UnaryStreamCall[pb.RecommendRequest, pb.RecommendResponse] | None = None
        self._answered = False

    @property
    def request_id(self) -> str:
        """The id that the sidecar's logs carry for this call."""
        return self._plan.request_id

    async def __aenter__(self) -> Self:
        if self._call is not None:
            raise RuntimeError("a stream can be entered once; call stream() again")
        remaining_s = await self._wait_for_rate_limit()
        metadata = grpc.aio.Metadata(("x-request-id", self.request_id))
        self._call = self._recommend()(self._plan.request, timeout=remaining_s, metadata=metadata)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._call is not None:
            self._call.cancel()  # leaving `async for` does not do it: the sidecar would work on for nobody

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while (response := await self._next_response()) is not None:
            event = from_response(response)
            if event is not None:
                return event
        raise StopAsyncIteration

    async def answer(self) -> Recommendation:
        """Read to the end and return the answer; events before it are dropped unread."""
        final: pb.Final | None = None
        while (response := await self._next_response()) is not None:
            if response.HasField("final"):
                final = response.final
        if final is None:
            raise RuntimeError("the answer of this stream was read before")
        return from_final(final, request_id=self.request_id)

    async def _next_response(self) -> pb.RecommendResponse | None:
        """Return the next message, None after the last one."""
        if self._call is None:
            raise RuntimeError("enter the stream first: async with client.stream(...) as events")
        try:
            response = await self._call.read()
        except grpc.aio.AioRpcError as error:
            plan = self._plan
            raise from_rpc_error(
                error, address=plan.address, request_id=plan.request_id, timeout_s=plan.timeout_s
            ) from error
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            # A call that ends with its channel looks like a cancelled task, which nobody cancelled.
            raise self._failure("the client was closed during the call", "CANCELLED") from error
        if isinstance(response, pb.RecommendResponse):
            self._answered |= response.HasField("final")
            return response
        if not self._answered:
            raise self._failure("the stream ended without an answer", "INTERNAL")
        return None

    async def _wait_for_rate_limit(self) -> float:
        """Return the seconds that are left of the deadline once the caller's own rate limit lets the call go."""
        plan = self._plan
        if plan.rate_limit is None:
            return plan.timeout_s
        started = time.monotonic()
        try:
            async with asyncio.timeout(plan.timeout_s):
                await plan.rate_limit.acquire()
        except TimeoutError:
            message = f"the client's own rate limit held the call back for {plan.timeout_s:g} s, its whole deadline"
            code = grpc.StatusCode.DEADLINE_EXCEEDED
            raise DeadlineExceeded(message, code=code, request_id=plan.request_id) from None
        return max(plan.timeout_s - (time.monotonic() - started), 1e-3)

    def _failure(self, message: str, code: str) -> ServerError:
        text = f"{self._plan.address}: {message}"
        return ServerError(text, code=grpc.StatusCode[code], request_id=self.request_id)
