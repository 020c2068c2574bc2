"""An engine for asyncio callers: passes run in one thread of their own, the event loop never waits for them."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Protocol

from sidebeam.search import DraftTree, DraftWanted, SearchResult


class EngineStopped(RuntimeError):
    """The engine was closed, or a pass failed; nothing more will come."""


class PassEngine(Protocol):
    """What a runner drives: an engine of searches, of texts, or of both."""

    @property
    def is_idle(self) -> bool:
        """Whether a step would find nothing to do."""

    def open(self, request: Any) -> Any:
        """Start a request; returns its ticket. Raises ValueError for one that cannot be answered."""

    def cancel(self, ticket: Any) -> None:
        """Drop a request; ended ones are let be."""

    def step(self, on_packed: Callable[[], None] = ...) -> list[Any]:
        """One pass. Returns (ticket, event) in order."""


class EngineRunner:
    """Feeds one engine from one event loop. `start` and `close` belong to that loop.

    A stream ends with an event of one of the types `last`.
    """

    def __init__(self, engine: PassEngine, last: tuple[type, ...] = (SearchResult,)) -> None:
        self.engine = engine
        self.last = last
        self._commands: deque[Callable[[], None]] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._failure: BaseException | None = None
        self._streams: dict[Any, EngineStream] = {}  # by ticket
        self._events: list[tuple[Any, Any]] = []  # ticket and event, not handed over yet
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="target-passes", daemon=True)

    def start(self) -> None:
        """Start the thread; the calling loop is the one that streams belong to."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def close(self) -> None:
        """End the thread after the pass it is in; open streams raise EngineStopped."""
        self._closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def stream(self, request: Any, result_only: bool = False) -> EngineStream:
        """A stream of a request's events, with `result_only` of the last one and what asks for an answer.

        Raises EngineStopped if no pass will run any more.
        """
        if self._closing or self._failure is not None:
            raise EngineStopped("the engine has stopped") from self._failure
        return EngineStream(self, request, result_only)

    async def between_passes(self, work: Callable[[], None]) -> None:
        """Have the engine's thread do `work` when no pass is under way. Raises EngineStopped if none will be again."""
        if self._closing or self._failure is not None:
            raise EngineStopped("the engine has stopped") from self._failure
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def end(error: Exception | None) -> None:
            if not done.done():
                done.set_result(error)

        def command() -> None:
            try:
                work()
            except Exception as error:
                loop.call_soon_threadsafe(end, error)
            else:
                loop.call_soon_threadsafe(end, None)

        self._submit(command)
        if (error := await done) is not None:
            raise error

    def _submit(self, command: Callable[[], None]) -> None:
        self._commands.append(command)
        self._wake.set()

    def _run(self) -> None:
        try:
            while not self._closing:
                while self._commands:
                    self._commands.popleft()()
                if self.engine.is_idle:
                    self._flush()
                    self._wake.wait()
                    self._wake.clear()
                    continue
                # Events wait until the next pass is under way: handing them over wakes the event loop, which would
                # take the interpreter from the packing of that pass.
                events = self.engine.step(self._flush)
                self._events.extend(events)
        except BaseException as error:
            self._failure = error
        self._post([(stream, None) for stream in self._streams.values()])

    def _flush(self) -> None:
        events, self._events = self._events, []
        posts: list[tuple[EngineStream, Any]] = []
        for ticket, event in events:
            stream = self._streams.get(ticket)
            if stream is None or (stream.result_only and not isinstance(event, (*self.last, DraftWanted))):
                continue
            if isinstance(event, self.last):
                del self._streams[ticket]
            posts.append((stream, event))
        self._post(posts)

    def _post(self, posts: list[tuple[EngineStream, Any]]) -> None:
        """Hand events over with one wake-up of the loop."""
        loop = self._loop
        if not posts or loop is None or loop.is_closed():
            return

        def put() -> None:
            for stream, event in posts:
                stream._events.put_nowait(event)

        loop.call_soon_threadsafe(put)

    def _open(self, stream: EngineStream) -> None:
        try:
            stream._ticket = self.engine.open(stream.request)
        except ValueError as error:
            self._post([(stream, error)])
            return
        self._streams[stream._ticket] = stream

    def _cancel(self, stream: EngineStream) -> None:
        if stream._ticket is not None:
            self._streams.pop(stream._ticket, None)
            self.engine.cancel(stream._ticket)


class EngineStream:
    """One search or text: `async with` opens and ends it, `async for` yields its events, the result last.

    Leaving the block early cancels: the rows leave the next pass and the KV slot is freed.
    """

    def __init__(self, runner: EngineRunner, request: Any, result_only: bool) -> None:
        self.request = request
        self.result_only = result_only
        self._runner = runner
        self._events: asyncio.Queue[Any] = asyncio.Queue()
        self._ticket: Any = None
        self._ended = False

    async def __aenter__(self) -> EngineStream:
        self._runner._submit(lambda: self._runner._open(self))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._ended:
            self._runner._submit(lambda: self._runner._cancel(self))

    def draft(self, tree: DraftTree | None) -> None:
        """Answer a search's DraftWanted; None: nothing to offer."""
        engine: Any = self._runner.engine

        def answer() -> None:
            if self._ticket is not None:
                engine.draft(self._ticket, tree)

        self._runner._submit(answer)

    async def __aiter__(self) -> AsyncIterator[Any]:
        while not self._ended:
            event = await self._events.get()
            if event is None:
                self._ended = True
                raise EngineStopped("the engine has stopped") from self._runner._failure
            if isinstance(event, BaseException):
                self._ended = True
                raise event
            self._ended = isinstance(event, self._runner.last)
            yield event
