"""An engine for asyncio callers: passes run in one thread of their own, the event loop never waits for them."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType

from sidebeam.engine.engine import Engine
from sidebeam.engine.ticket import Ticket
from sidebeam.search import AcceptedBeams, DraftTree, SearchEvent, SearchRequest, SearchResult


class EngineStopped(RuntimeError):
    """The engine was closed, or a pass failed; nothing more will come."""


class EngineRunner:
    """Feeds one engine from one event loop. `start` and `close` belong to that loop."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._commands: deque[Callable[[], None]] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._failure: BaseException | None = None
        self._streams: dict[Ticket, SearchStream] = {}
        self._events: list[tuple[Ticket, SearchEvent]] = []  # not handed over yet
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

    def search(self, request: SearchRequest, result_only: bool = False) -> SearchStream:
        """A stream of the search's events, of `result_only` without accepted beams.

        Raises EngineStopped if no pass will run any more.
        """
        if self._closing or self._failure is not None:
            raise EngineStopped("the engine has stopped") from self._failure
        return SearchStream(self, request, result_only)

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
        posts: list[tuple[SearchStream, SearchEvent | BaseException | None]] = []
        for ticket, event in events:
            stream = self._streams.get(ticket)
            if stream is None or (stream.result_only and isinstance(event, AcceptedBeams)):
                continue
            if isinstance(event, SearchResult):
                del self._streams[ticket]
            posts.append((stream, event))
        self._post(posts)

    def _post(self, posts: list[tuple[SearchStream, SearchEvent | BaseException | None]]) -> None:
        """Hand events over with one wake-up of the loop."""
        loop = self._loop
        if not posts or loop is None or loop.is_closed():
            return

        def put() -> None:
            for stream, event in posts:
                stream._events.put_nowait(event)

        loop.call_soon_threadsafe(put)

    def _open(self, stream: SearchStream) -> None:
        try:
            stream._ticket = self.engine.open(stream.request)
        except ValueError as error:
            self._post([(stream, error)])
            return
        self._streams[stream._ticket] = stream

    def _cancel(self, stream: SearchStream) -> None:
        if stream._ticket is not None:
            self._streams.pop(stream._ticket, None)
            self.engine.cancel(stream._ticket)


class SearchStream:
    """One search: `async with` opens and ends it, `async for` yields its events, the SearchResult last.

    Leaving the block early cancels: the rows leave the next pass and the KV slot is freed.
    """

    def __init__(self, runner: EngineRunner, request: SearchRequest, result_only: bool) -> None:
        self.request = request
        self.result_only = result_only
        self._runner = runner
        self._events: asyncio.Queue[SearchEvent | BaseException | None] = asyncio.Queue()
        self._ticket: Ticket | None = None
        self._ended = False

    async def __aenter__(self) -> SearchStream:
        self._runner._submit(lambda: self._runner._open(self))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._ended:
            self._runner._submit(lambda: self._runner._cancel(self))

    def draft(self, tree: DraftTree | None) -> None:
        """Answer a DraftWanted; None: nothing to offer."""

        def answer() -> None:
            if self._ticket is not None:
                self._runner.engine.draft(self._ticket, tree)

        self._runner._submit(answer)

    async def __aiter__(self) -> AsyncIterator[SearchEvent]:
        while not self._ended:
            event = await self._events.get()
            if event is None:
                self._ended = True
                raise EngineStopped("the engine has stopped") from self._runner._failure
            if isinstance(event, BaseException):
                self._ended = True
                raise event
            self._ended = isinstance(event, SearchResult)
            yield event
