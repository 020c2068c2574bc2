"""The client, for code that runs in an event loop."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Literal, Self, SupportsIndex, Unpack

import grpc
from asyncio_throttle import Throttler

from sidebeam.client._call_stream import Call, Method, Plan
from sidebeam.client._event_stream import EventStream
from sidebeam.client._events import Recommendation
from sidebeam.client._readiness import wait_until_serving
from sidebeam.client._request import Draft, RequestArguments, RequestBuilder, Sampling
from sidebeam.client._retry import with_retries
from sidebeam.client._text_request import Relaxed, Sampled, TextArguments, TextDraft, TextRequestBuilder
from sidebeam.client._text_stream import TextStream
from sidebeam.client._texts import Text
from sidebeam.v1 import knowledge_pb2_grpc, recommendation_pb2_grpc

_CHANNEL_DEFAULTS: dict[str, Any] = {
    # A sidecar is near: look for it again at once, and never for longer than a restart takes.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2_000,
    # Notices a peer that vanished without a word while a call is open.
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    # A ranking of 200,000 items.
    "grpc.max_receive_message_length": 32 * 1024 * 1024,
}

_STATUS_S = 0.5  # for the last word of calls whose answers are here


class AsyncClient:
    """Talks to one sidecar over one channel, opened by the first call and closed by `aclose` or the `async with` block.

        async with AsyncClient("127.0.0.1:50051") as client:
            answer = await client.recommend(history=["12", "55", "9"], top_k=10)

    `address` is HOST:PORT or `unix:/path/to.sock`. `timeout_s` is the deadline of calls that name none of their own.
    `rate_limit`, an asyncio-throttle Throttler, paces this client's calls; waiting for it counts against the deadline.
    `credentials` turns TLS on. `token` tells the sidecar on whose behalf calls are made. `channel_args` are gRPC
    channel arguments; they win over this client's own. `recommend` and `generate` ask up to `retries` times more, in
    the time they have, when the sidecar turns them away or is not there. Calls may run at the same time, but all in one
    event loop.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float = 10.0,
        rate_limit: Throttler | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        token: str = "",
        retries: int = 2,
        channel_args: Sequence[tuple[str, Any]] = (),
    ) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._rate_limit = rate_limit
        self._credentials = credentials
        self._token = _fit(token)
        self._retries = retries
        self._ending: set[Call] = set()
        self._channel_args = tuple((_CHANNEL_DEFAULTS | dict(channel_args)).items())
        self._channel: grpc.aio.Channel | None = None
        self._methods: dict[str, Method] = {}  # of the channel
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def recommend(self, **arguments: Unpack[RequestArguments]) -> Recommendation:
        """Return the answer; see `RequestArguments` for what may be asked. Raises SidebeamError.

        Nothing but the answer is sent: for the events before it, there is `stream`.
        """
        plan = self._plan(**arguments)
        plan.request.final_only = True
        return await with_retries(self._recommended, plan, self._retries)

    def stream(self, **arguments: Unpack[RequestArguments]) -> EventStream:
        """Return a stream of events; `async with` starts the call. Raises InvalidRequest for what cannot be sent."""
        return EventStream(self._recommend, self._plan(**arguments), self._ending)

    async def generate(self, **arguments: Unpack[TextArguments]) -> Text:
        """Return a text about a user or an item; see `TextArguments` for what may be asked. Raises SidebeamError.

        Nothing is sent before it is finished: for the text as it grows, there is `stream_text`.
        """
        plan = self._text_plan(**arguments)
        plan.request.summary_only = True
        return await with_retries(self._generated, plan, self._retries)

    def stream_text(self, **arguments: Unpack[TextArguments]) -> TextStream:
        """Return a stream of a text; `async with` starts the call. Raises InvalidRequest for what cannot be sent."""
        return TextStream(self._generate, self._text_plan(**arguments), self._ending)

    async def wait_until_ready(self, timeout_s: float = 60.0) -> None:
        """Return once the sidecar reports that it serves. Raises Unavailable if it does not within `timeout_s`."""
        await wait_until_serving(self._open_channel(), self.address, timeout_s)

    async def aclose(self) -> None:
        """Close the channel and cancel the calls that still use it. A second time, do nothing."""
        self._closed = True
        channel, self._channel = self._channel, None
        if self._ending:
            await asyncio.wait([asyncio.ensure_future(call.code()) for call in self._ending], timeout=_STATUS_S)
        if channel is not None:
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _plan(
        self,
        *,
        history: Iterable[str | int] | None = None,
        prompt: str | None = None,
        tokens: Iterable[SupportsIndex] | None = None,
        top_k: int | None = None,
        exclude: Iterable[str | int] = (),
        draft: Literal["auto", "off"] | Draft = "auto",
        search: Literal["beam", "exact"] = "beam",
        sampling: Sampling | None = None,
        timeout_s: float | None = None,
        on_deadline: Literal["fail", "best_so_far"] = "fail",
        request_id: str | None = None,
    ) -> Plan:
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        request_id = uuid.uuid4().hex if request_id is None else request_id
        builder = RequestBuilder()
        builder.context(history, prompt, tokens)
        builder.answer(top_k, exclude, search, on_deadline)
        builder.sampling(sampling)
        builder.draft(draft)
        builder.call(timeout_s, request_id)
        builder.check(request_id)
        return Plan(self.address, builder.request, request_id, timeout_s, self._rate_limit, self._token)

    def _text_plan(
        self,
        *,
        prompt: str | None = None,
        tokens: Iterable[SupportsIndex] | None = None,
        entity: str | int | None = None,
        group: str | None = None,
        max_new_tokens: int | None = None,
        verification: Literal["exact", "relaxed", "sampled"] | Relaxed | Sampled = "exact",
        draft: Literal["auto", "off"] | TextDraft = "auto",
        learn: bool = False,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Plan:
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        request_id = uuid.uuid4().hex if request_id is None else request_id
        builder = TextRequestBuilder()
        builder.context(prompt, tokens)
        builder.subject(entity, group, learn)
        builder.length(max_new_tokens)
        builder.verification(verification)
        builder.draft(draft)
        builder.call(timeout_s, request_id)
        builder.check(request_id)
        return Plan(self.address, builder.request, request_id, timeout_s, self._rate_limit, self._token)

    async def _recommended(self, plan: Plan) -> Recommendation:
        async with EventStream(self._recommend, plan, self._ending) as events:
            return await events.answer()

    async def _generated(self, plan: Plan) -> Text:
        async with TextStream(self._generate, plan, self._ending) as events:
            return await events.answer()

    def _recommend(self) -> Method:
        return self._method("Recommend", recommendation_pb2_grpc.RecommendationServiceStub)

    def _generate(self) -> Method:
        return self._method("Generate", knowledge_pb2_grpc.KnowledgeServiceStub)

    def _method(self, name: str, stub: Callable[[grpc.aio.Channel], object]) -> Method:
        channel = self._open_channel()
        if name not in self._methods:
            self._methods[name] = getattr(stub(channel), name)
        return self._methods[name]

    def _open_channel(self) -> grpc.aio.Channel:
        if self._closed:
            raise RuntimeError(f"this client of {self.address} is closed")
        loop = asyncio.get_running_loop()
        if self._channel is None:
            self._loop = loop
            if self._credentials is None:
                self._channel = grpc.aio.insecure_channel(self.address, options=self._channel_args)
            else:
                self._channel = grpc.aio.secure_channel(self.address, self._credentials, options=self._channel_args)
        if self._loop is not loop:
            raise RuntimeError(f"this client of {self.address} belongs to another event loop")
        return self._channel


def _fit(token: str) -> str:
    """Raises ValueError, without its value, for a token that metadata cannot hold."""
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ValueError("token: must be printable ASCII characters without spaces")
    return token
