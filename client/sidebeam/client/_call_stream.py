"""One streaming call of any method: opened by `async with`, read by `async for`, cancelled on the way out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc
from asyncio_throttle import Throttler

from sidebeam.client._errors import DeadlineExceeded, ServerError, from_rpc_error

Call = grpc.aio.UnaryStreamCall[Any, Any]
Method = Callable[..., Call]

EventT = TypeVar("EventT")
AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True)
class Plan:
    """A call that is ready to be made; `timeout_s` covers the wait for the caller's own rate limit, too.

    `token` is empty for a sidecar that asks for none.
    """

    address: str
    request: Any  # a protobuf message
    request_id: str
    timeout_s: float
    rate_limit: Throttler | None
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Reading(Generic[EventT, AnswerT]):
    """How a method's responses are read: `last` is the field of the one that ends the stream.

    `event` returns None for a kind that this version does not know; `answer` takes the last response's field, and the
    request's id.
    """

    last: str
    event: Callable[[Any], EventT | None]
    answer: Callable[[Any, str], AnswerT]


class CallStream(Generic[EventT, AnswerT]):
    """The events of one call, in the order in which the sidecar sends them. Raises SidebeamError.

    `ending` keeps calls whose answer is here and whose status is still on its way: nobody waits for that, but to drop
    the call would tell the sidecar that its caller has gone.
    """

    def __init__(
        self, method: Callable[[], Method], plan: Plan, reading: Reading[EventT, AnswerT], ending: set[Call]
    ) -> None:
        self._method = method
        self._plan = plan
        self._reading = reading
        self._ending = ending
        self._call: Call | None = None
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
        if self._plan.token:
            metadata.add("authorization", f"Bearer {self._plan.token}")
        self._call = self._method()(self._plan.request, timeout=remaining_s, metadata=metadata)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        call = self._call
        if call is not None and self._answered and not call.done():
            self._ending.add(call)
            call.add_done_callback(lambda _: self._ending.discard(call))
        elif call is not None:
            call.cancel()  # leaving `async for` does not do it: the sidecar would work on for nobody

    def __aiter__(self) -> AsyncIterator[EventT]:
        return self

    async def __anext__(self) -> EventT:
        while (response := await self._next_response()) is not None:
            event = self._reading.event(response)
            if event is not None:
                return event
        raise StopAsyncIteration

    async def answer(self) -> AnswerT:
        """Return the answer; events before it are dropped unread."""
        while (response := await self._next_response()) is not None:
            if response.HasField(self._reading.last):
                return self._reading.answer(getattr(response, self._reading.last), self.request_id)
        raise RuntimeError("the answer of this stream was read before")

    async def _next_response(self) -> Any:
        """Return the next message, None after the last one."""
        if self._call is None:
            raise RuntimeError("enter the stream first: async with client.stream(...) as events")
        try:
            response: Any = await self._call.read()
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
        if response is not grpc.aio.EOF:
            self._answered |= response.HasField(self._reading.last)
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
