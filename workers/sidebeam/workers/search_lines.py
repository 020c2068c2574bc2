"""Searches of a front on the same host: TargetService/Search, with a line in the place of a gRPC stream."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import structlog

from sidebeam.line import Line, LineLost
from sidebeam.worker.v1 import target_pb2

BACKLOG = 128

SearchMethod = Callable[[Any, Any], Awaitable[None]]
"""`TargetServicer.Search`: of its context it uses what `LineContext` has."""


def listen(path: Path) -> socket.socket | None:
    """A socket that only the owner may connect to; None, after a word in the log, if there can be none there."""
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)  # of a process that was killed
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except OSError as error:  # such as for a path that is too long, which without its suffix was not
        structlog.get_logger().warning("no_lines", path=str(path), reason=str(error))
        listener.close()
        return None
    finally:
        os.umask(mask)
    return listener


async def serve_lines(listener: socket.socket, search: SearchMethod) -> None:
    """Take searches until cancelled. A line carries one search at a time, and the next one after its result."""
    path = listener.getsockname()
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: _Session(search), sock=listener, backlog=BACKLOG)
    try:
        await server.serve_forever()
    finally:
        os.unlink(path)


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

    def __init__(self, search: SearchMethod) -> None:
        super().__init__(target_pb2.SearchRequest)
        self._search = search
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """For asyncio."""
        super().connection_made(transport)
        self._task = asyncio.get_running_loop().create_task(self._serve())

    def connection_lost(self, error: Exception | None) -> None:
        """For asyncio."""
        super().connection_lost(error)
        if self._task is not None:
            self._task.cancel()

    async def _serve(self) -> None:
        try:
            while (first := await self.read()) is not None:
                with suppress(_Refused):
                    await self._search(None, LineContext(self, first))
        except LineLost:
            pass
        except Exception:
            structlog.get_logger().exception("search_failed")
        finally:
            self.close()
