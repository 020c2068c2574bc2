"""Searches of a front on the same host: TargetService/Search, with a line in the place of a gRPC stream."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc
import structlog

from sidebeam.line import Line, LineLost, line_path
from sidebeam.worker.v1 import target_pb2
from sidebeam.workers.process import own_socket

BACKLOG = 128

SearchMethod = Callable[[Any, Any], Awaitable[None]]
"""`TargetServicer.Search`: of its context it uses what `LineContext` has."""


class SearchLines:
    """Listens beside the gRPC server. A line carries one search at a time, and the next one after its result."""

    def __init__(self, listener: socket.socket, search: SearchMethod) -> None:
        self._listener = listener
        self._search = search
        self._sessions: set[_Session] = set()

    async def run(self) -> None:
        """Take searches until cancelled."""
        path = self._listener.getsockname()
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(self._session, sock=self._listener, backlog=BACKLOG)
        try:
            await server.serve_forever()
        finally:
            os.unlink(path)

    async def drain(self) -> None:
        """Take no search any more, and return once all have ended."""
        searching = [session.drain() for session in self._sessions]
        await asyncio.gather(*searching)

    def _session(self) -> _Session:
        session = _Session(self._search, self._sessions.discard)
        self._sessions.add(session)
        return session


def listen(address: str) -> socket.socket | None:
    """A socket for lines to a worker with that gRPC address, which only the owner may connect to.

    None where there can be none; if the address is a Unix socket's, the log has a word on it.
    """
    path = line_path(address)
    if path is None:
        return None
    listener = socket.socket(socket.AF_UNIX)
    try:
        with own_socket(path):
            listener.bind(str(path))
        listener.listen(BACKLOG)
    except OSError as error:  # such as for a path that is too long, which without its suffix was not
        structlog.get_logger().warning("no_lines", path=str(path), reason=str(error))
        listener.close()
        return None
    return listener


class _Refused(Exception):
    """The search has been ended with a refusal."""


class LineContext:
    """What `TargetServicer.Search` needs of a gRPC context, over a line."""

    def __init__(self, line: Line[target_pb2.SearchRequest], first: target_pb2.SearchRequest) -> None:
        self._line = line
        self._first: target_pb2.SearchRequest | None = first

    async def send_initial_metadata(self, metadata: object) -> None:
        """Lines have none."""

    async def read(self) -> Any:
        """The caller's next message; grpc.aio.EOF once it has gone."""
        message, self._first = self._first, None
        return message or await self._line.read() or grpc.aio.EOF

    async def write(self, response: target_pb2.SearchResponse) -> None:
        """Send an event."""
        self._line.write(response)

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        """End the search with a refusal. Raises always."""
        refusal = target_pb2.Refusal(code=code.value[0], details=details)
        self._line.write(target_pb2.SearchResponse(refusal=refusal))
        raise _Refused


class _Session(Line[target_pb2.SearchRequest]):
    """One connection. Whoever closes it in the middle of a search cancels that."""

    def __init__(self, search: SearchMethod, ended: Callable[[_Session], None]) -> None:
        super().__init__(target_pb2.SearchRequest)
        self._search = search
        self._ended = ended
        self._task: asyncio.Task[None] | None = None
        self._is_searching = False
        self._is_last = False  # no search after this one

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """For asyncio."""
        super().connection_made(transport)
        self._task = asyncio.get_running_loop().create_task(self._serve())

    def connection_lost(self, error: Exception | None) -> None:
        """For asyncio."""
        super().connection_lost(error)
        self._ended(self)
        if self._task is not None:
            self._task.cancel()

    async def drain(self) -> None:
        """Return once the search under way, if there is one, has ended, and the line with it."""
        self._is_last = True
        if not self._is_searching:
            self.close()
        elif self._task is not None:
            await asyncio.wait((self._task,))

    async def _serve(self) -> None:
        try:
            while not self._is_last and (first := await self.read()) is not None:
                self._is_searching = True
                with suppress(_Refused):
                    await self._search(None, LineContext(self, first))
                self._is_searching = False
        except LineLost:
            pass
        except Exception:
            structlog.get_logger().exception("search_failed")
        finally:
            self.end()
