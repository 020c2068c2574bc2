"""Sends bytes as they are, many at a time over a few connections."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc

from tests.fuzz.cases import RECOMMEND, Case

CONNECTIONS = 3
PATIENCE_S = 30.0  # with floods, and with callers who do not read
# What the client library says of itself when a deadline passes while it is still writing; no server said so.
OWN_WORDS = "Internal error from Core"
HANGS_S = 60.0  # beyond every deadline there is


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request ended, as its caller saw it."""

    case: Case
    code: str
    details: str

    @property
    def is_documented(self) -> bool:
        """Whether a caller of this method may be told this."""
        return self.code in self.case.method.codes or self.details.startswith(OWN_WORDS)

    def __str__(self) -> str:
        shown = self.case.payload[:200]
        return f"{self.case.method.path} {shown!r} ({len(self.case.payload)} bytes): {self.code}: {self.details}"


class Sender:
    """Holds the connections, and counts what has been sent and how it ended."""

    def __init__(self, address: str) -> None:
        self.sent = 0
        self.codes: Counter[tuple[str, str]] = Counter()  # by method and code
        self._runner = asyncio.Runner()
        self._address = address
        self._channels: list[grpc.aio.Channel] = []

    def __enter__(self) -> Self:
        self._runner.__enter__()
        self._runner.run(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._close())
        self._runner.__exit__(kind, error, trace)

    def send(self, cases: Sequence[Case]) -> list[Outcome]:
        """Send them all at once; returns when the last one has ended. Raises TimeoutError if one never does."""
        outcomes = self._runner.run(self._send_all(cases))
        self.sent += len(outcomes)
        self.codes.update((outcome.case.method.path.rpartition("/")[2], outcome.code) for outcome in outcomes)
        return outcomes

    def answer(self, payload: bytes) -> bytes:
        """The last event of a recommendation that must succeed, if need be after some waiting for room."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._runner.run(self._answer(payload))
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED or time.monotonic() > end:
                    raise
            time.sleep(0.1)

    async def _open(self) -> None:
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_metadata_size", 1 << 20))
        self._channels = [grpc.aio.insecure_channel(self._address, options) for _ in range(CONNECTIONS)]

    async def _close(self) -> None:
        for channel in self._channels:
            await channel.close()

    async def _send_all(self, cases: Sequence[Case]) -> list[Outcome]:
        async with asyncio.timeout(HANGS_S):
            return await asyncio.gather(
                *(_send(self._channels[i % CONNECTIONS], case) for i, case in enumerate(cases)),
            )

    async def _answer(self, payload: bytes) -> bytes:
        call = self._channels[0].unary_stream(RECOMMEND.path)(payload, timeout=20.0)
        return [event async for event in call][-1]


async def _send(channel: grpc.aio.Channel, case: Case) -> Outcome:
    call = _call(channel, case)
    try:
        async with asyncio.timeout(case.leaves_after_s):
            if case.method.streams_responses:
                async for _ in call:
                    pass
            else:
                await call
    except TimeoutError:
        call.cancel()
    except (grpc.aio.AioRpcError, asyncio.CancelledError):
        pass  # how it ended is asked below
    code = await call.code()
    return Outcome(case, code.name, str(await call.details()))


def _call(channel: grpc.aio.Channel, case: Case) -> Any:
    """A call without serializers: bytes go out, and come in, as they are."""
    how: dict[str, Any] = {"timeout": case.timeout_s, "metadata": case.metadata}
    path = case.method.path
    if case.method.streams_requests:
        return channel.stream_stream(path)(iter([case.payload]), **how)
    if case.method.streams_responses:
        return channel.unary_stream(path)(case.payload, **how)
    return channel.unary_unary(path)(case.payload, **how)
