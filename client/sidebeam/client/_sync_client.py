"""The client, for code without an event loop: a thin facade that runs `AsyncClient` in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, Unpack

import grpc
from asyncio_throttle import Throttler

from sidebeam.client._async_client import AsyncClient
from sidebeam.client._call_stream import CallStream
from sidebeam.client._events import Event, Recommendation
from sidebeam.client._request import RequestArguments
from sidebeam.client._text_request import TextArguments
from sidebeam.client._texts import Text, TextEvent

T = TypeVar("T")
EventT = TypeVar("EventT")

# Calls end as soon as their channel is closed; this bounds whatever does not.
_GRACE_S = 1.0


class Client:
    """What `AsyncClient` offers, as blocking calls; safe to share between threads.

        with Client("127.0.0.1:50051") as client:
            answer = client.recommend(history=["12", "55", "9"], top_k=10)

    The arguments are AsyncClient's. In a program that has an event loop, use AsyncClient.
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
        channel_args: tuple[tuple[str, Any], ...] = (),
    ) -> None:
        self._client = AsyncClient(
            address,
            timeout_s=timeout_s,
            rate_limit=rate_limit,
            credentials=credentials,
            token=token,
            retries=retries,
            channel_args=channel_args,
        )
        self._thread = LoopThread(f"sidebeam client of {address}")

    def recommend(self, **arguments: Unpack[RequestArguments]) -> Recommendation:
        """Return the answer; see `RequestArguments` for what may be asked. Raises SidebeamError."""
        return self._thread.wait_for(self._client.recommend(**arguments))

    def stream(self, **arguments: Unpack[RequestArguments]) -> BlockingEventStream[Event]:
        """Return a stream of events; `with` starts the call. Raises InvalidRequest for what cannot be sent."""
        return BlockingEventStream(self._client.stream(**arguments), self._thread)

    def generate(self, **arguments: Unpack[TextArguments]) -> Text:
        """Return a text about a user or an item; see `TextArguments` for what may be asked. Raises SidebeamError."""
        return self._thread.wait_for(self._client.generate(**arguments))

    def stream_text(self, **arguments: Unpack[TextArguments]) -> BlockingEventStream[TextEvent]:
        """Return a stream of a text; `with` starts the call. Raises InvalidRequest for what cannot be sent."""
        return BlockingEventStream(self._client.stream_text(**arguments), self._thread)

    def wait_until_ready(self, timeout_s: float = 60.0) -> None:
        """Return once the sidecar reports that it serves. Raises Unavailable if it does not within `timeout_s`."""
        self._thread.wait_for(self._client.wait_until_ready(timeout_s))

    def close(self) -> None:
        """Close the channel, cancel the calls that still use it and end the thread. A second time, do nothing."""
        if not self._thread.ended:
            self._thread.wait_for(self._client.aclose())
            self._thread.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class BlockingEventStream(Generic[EventT]):
    """The events of one call: entered by `with`, read by `for`, cancelled on the way out."""

    def __init__(self, events: CallStream[EventT, Any], thread: LoopThread) -> None:
        self._events = events
        self._thread = thread

    @property
    def request_id(self) -> str:
        """The id that the sidecar's logs carry for this call."""
        return self._events.request_id

    def __enter__(self) -> Self:
        self._thread.wait_for(self._events.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.wait_for(self._events.__aexit__(kind, error, traceback))

    def __iter__(self) -> Iterator[EventT]:
        return self

    def __next__(self) -> EventT:
        event = self._thread.wait_for(self._next())
        if event is None:
            raise StopIteration
        return event

    async def _next(self) -> EventT | None:
        # StopAsyncIteration cannot leave a coroutine that a future reports on.
        return await anext(self._events, None)


class LoopThread:
    """An event loop in a daemon thread, started by the first wait."""

    def __init__(self, name: str) -> None:
        self.ended = False
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run `coroutine` in the loop and return its result; an interrupt of the waiting thread cancels it."""
        try:
            loop = self._start()
        except RuntimeError:
            coroutine.close()
            raise
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def end(self) -> None:
        """Stop the loop and wait for the thread. Waits after this raise RuntimeError."""
        with self._lock:
            self.ended = True
            loop, thread = self._loop, self._thread
        if loop is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(_finish(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self.ended:
                raise RuntimeError(f"this {self._name} is closed")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name=self._name, daemon=True)
                self._thread.start()
            return self._loop


async def _finish() -> None:
    """Let every waiting thread have its result or its error before the loop goes."""
    waiting = asyncio.all_tasks() - {asyncio.current_task()}
    if waiting:
        _, late = await asyncio.wait(waiting, timeout=_GRACE_S)
        for task in late:
            task.cancel()
