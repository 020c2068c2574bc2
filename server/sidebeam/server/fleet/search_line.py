"""A search's call to a target worker on this host, over a line instead of a gRPC stream."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sidebeam.line import Line, LineLost
from sidebeam.worker.v1 import target_pb2

MOST_SPARE = 64  # lines that wait for searches; more in use at once are made anew

SearchLine = Line[target_pb2.SearchResponse]


class LineCall:
    """One search, as a call of `grpc.aio` has it: `write` and `read`."""

    def __init__(self, path: Path, spare: SearchLine | None) -> None:
        self._path = path
        self._line = spare
        self._written = 0
        self._has_result = False

    @property
    def line(self) -> SearchLine | None:
        """What the next search can use, once this one has its result.

        None if answers to the worker's questions were sent: one may be on its way still, and not be taken for the next
        search's.
        """
        return self._line if self._has_result and self._written == 1 else None

    async def write(self, request: target_pb2.SearchRequest) -> None:
        """Send a message; the first one connects, where there was no spare line. Raises LineLost."""
        if self._line is None:
            self._line = await _connected(self._path)
        self._written += 1
        self._line.write(request)

    async def read(self) -> target_pb2.SearchResponse | None:
        """The worker's next event; None once it has gone."""
        event = None if self._line is None else await self._line.read()
        self._has_result = event is not None and event.HasField("result")
        return event

    def close(self) -> None:
        """End the call and its line: the worker drops the search, if it has not ended."""
        if self._line is not None:
            self._line.close()


class SearchLines:
    """The lines to one worker that nobody uses."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._spare: list[SearchLine] = []
        self._closed = False

    def take(self) -> LineCall:
        """A call over the line used last, if it is still open; else over a new one."""
        while self._spare:
            if (line := self._spare.pop()).is_open:
                return LineCall(self._path, line)
        return LineCall(self._path, None)

    def give_back(self, call: LineCall) -> None:
        """End a call; its line is kept, if it is fit for another search."""
        line = call.line
        if line is not None and line.is_open and len(self._spare) < MOST_SPARE and not self._closed:
            self._spare.append(line)
        else:
            call.close()

    def close(self) -> None:
        """End all lines that are kept; no other is kept from here on."""
        self._closed = True
        while self._spare:
            self._spare.pop().close()


async def _connected(path: Path) -> SearchLine:
    loop = asyncio.get_running_loop()
    try:
        _, line = await loop.create_unix_connection(lambda: Line(target_pb2.SearchResponse), str(path))
    except OSError as error:
        raise LineLost(f"cannot connect to {path.name}: {error.strerror}") from error
    return line
