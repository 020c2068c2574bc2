"""The target workers as one: each request goes to the ready replica that has the fewest, and answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import grpc

from sidebeam.line import line_path
from sidebeam.server.fleet.search_line import LineCall, SearchLines
from sidebeam.server.fleet.worker_link import WorkerLink
from sidebeam.worker.v1 import target_pb2, tree_pb2

SERVICE = "sidebeam.worker.v1.TargetService"

GrpcSearchCall = grpc.aio.StreamStreamCall[target_pb2.SearchRequest, target_pb2.SearchResponse]
SearchCall = GrpcSearchCall | LineCall
WriteCall = grpc.aio.UnaryStreamCall[target_pb2.WriteRequest, target_pb2.WriteResponse]


class TargetReplica:
    """One target worker. Searches go over lines if it is on this host and takes them, else over gRPC.

    Of gRPC's, a call is kept open that nobody has written to yet: making one costs a millisecond of the request that
    waits for it. A search's call is ended, and the next one opened, once the request that used it has gone on to its
    answer.
    """

    def __init__(self, link: WorkerLink) -> None:
        self.link = link
        self._closed = False
        path = line_path(link.address)
        self._lines = None if path is None else SearchLines(path)
        self._spare: tuple[tree_pb2.WorkerInfo | None, GrpcSearchCall] | None = None
        self._search: Callable[[], GrpcSearchCall] = link.channel.stream_stream(  # type: ignore[assignment]
            f"/{SERVICE}/Search",
            request_serializer=target_pb2.SearchRequest.SerializeToString,
            response_deserializer=target_pb2.SearchResponse.FromString,
        )
        self._write: Callable[[target_pb2.WriteRequest], WriteCall] = link.channel.unary_stream(  # type: ignore[assignment]
            f"/{SERVICE}/Write",
            request_serializer=target_pb2.WriteRequest.SerializeToString,
            response_deserializer=target_pb2.WriteResponse.FromString,
        )

    @contextmanager
    def write(self, request: target_pb2.WriteRequest) -> Iterator[WriteCall]:
        """One text's call, which counts as in flight, and is cancelled, if it has not ended, with the block."""
        self.link.in_flight += 1
        call = self._write(request)
        try:
            yield call
        finally:
            call.cancel()
            self.link.in_flight -= 1

    @contextmanager
    def search(self) -> Iterator[SearchCall]:
        """A call that counts as in flight, and is cancelled, if it has not ended, just after the block."""
        end: Callable[[], None]
        call: SearchCall
        if self._lines is not None and self.link.info is not None and self.link.info.takes_lines:
            call = over_line = self._lines.take()
            end = partial(self._lines.give_back, over_line)
        else:
            call = over_grpc = self._take()
            end = partial(self._renew, over_grpc)
        self.link.in_flight += 1
        try:
            yield call
        finally:
            self.link.in_flight -= 1
            asyncio.get_running_loop().call_soon(end)

    def close(self) -> None:
        """End the call and the lines that are kept open; no other is kept from here on."""
        self._closed = True
        if self._lines is not None:
            self._lines.close()
        if self._spare is not None:
            self._spare[1].cancel()
            self._spare = None

    def _renew(self, used: GrpcSearchCall) -> None:
        """End a call, if it has not ended, and keep another one open."""
        used.cancel()
        if self._spare is None and self.link.is_ready and not self._closed:
            self._spare = self.link.info, self._search()

    def _take(self) -> GrpcSearchCall:
        """The open call, unless it is of a worker that has gone since; else a new one."""
        spare, self._spare = self._spare, None
        if spare is None:
            return self._search()
        info, call = spare
        if call.done() or info is not self.link.info:
            call.cancel()
            return self._search()
        return call


class Replicas:
    """All target workers."""

    def __init__(self, replicas: Sequence[TargetReplica]) -> None:
        self._replicas = replicas
        self._turn = 0
        self._changed = asyncio.Event()

    def __iter__(self) -> Iterator[TargetReplica]:
        return iter(self._replicas)

    def close(self) -> None:
        """End all calls that are kept open, so that no worker waits for them when it is stopped."""
        for replica in self._replicas:
            replica.close()

    @property
    def any_ready(self) -> bool:
        """Whether a request could be answered now."""
        return any(replica.link.is_ready for replica in self._replicas)

    def update(self) -> None:
        """Wake those who wait for a ready replica; to be called when a link's state changes."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def acquire(self) -> TargetReplica:
        """The ready replica with the fewest requests in flight, in turn among equals. Waits until there is one.

        One that owes a heartbeat is the last choice: a worker that hangs takes requests until it is found out.
        """
        while (replica := self._least_loaded()) is None:
            await self._changed.wait()
        return replica

    def _least_loaded(self) -> TargetReplica | None:
        self._turn += 1
        n = len(self._replicas)
        ready = [
            (replica.link.is_silent, replica.link.in_flight, (i - self._turn) % n, i)
            for i, replica in enumerate(self._replicas)
            if replica.link.is_ready
        ]
        return self._replicas[min(ready)[-1]] if ready else None
