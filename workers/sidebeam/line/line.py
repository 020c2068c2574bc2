"""One end of a line: messages out, messages in, each behind its length."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

LENGTH = struct.Struct("<I")
MAX_MESSAGE_BYTES = 64 << 20  # a million excluded leaves take 4 MB; the front bounds what callers may send
UNIX = "unix:"


class Message(Protocol):
    """A protobuf message."""

    def SerializeToString(self) -> bytes:  # noqa: N802
        """Its bytes."""

    @classmethod
    def FromString(cls, data: bytes) -> Self:  # noqa: N802
        """The message of those bytes. Raises ValueError or google.protobuf.message.DecodeError."""


ReceivedT = TypeVar("ReceivedT", bound=Message)


class LineLost(ConnectionError):
    """The other end has gone, or there is none."""


class Line(asyncio.Protocol, Generic[ReceivedT]):
    """A connection of asyncio's. Messages are small and few, so that none waits for the other end to make room."""

    def __init__(self, received: type[ReceivedT]) -> None:
        self._received = received
        self._transport: asyncio.Transport | None = None
        self._bytes = bytearray()
        self._messages: asyncio.Queue[ReceivedT | None] = asyncio.Queue()

    @property
    def is_open(self) -> bool:
        """Whether the other end is there."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """For asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """For asyncio. A length or a message that makes no sense ends the line."""
        self._bytes += data
        try:
            while (message := self._next()) is not None:
                self._messages.put_nowait(message)
        except Exception:  # what a decoder raises depends on protobuf's implementation
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        """For asyncio."""
        self._transport = None
        self._messages.put_nowait(None)

    async def read(self) -> ReceivedT | None:
        """The next message; None once the line has ended."""
        message = await self._messages.get()
        if message is None:
            self._messages.put_nowait(None)  # so it stays
        return message

    def write(self, message: Message) -> None:
        """Send a message. Raises LineLost."""
        if self._transport is None or self._transport.is_closing():
            raise LineLost("the line has ended")
        data = message.SerializeToString()
        self._transport.write(LENGTH.pack(len(data)) + data)

    def end(self) -> None:
        """End the line once what was written has been sent."""
        if self._transport is not None:
            self._transport.close()

    def close(self) -> None:
        """End the line; what was not sent yet is dropped."""
        if self._transport is not None:
            self._transport.abort()

    def _next(self) -> ReceivedT | None:
        """The first message of what has come, if all of it is here."""
        if len(self._bytes) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack_from(self._bytes)
        if length > MAX_MESSAGE_BYTES:
            raise ValueError(f"a message of {length} bytes; at most {MAX_MESSAGE_BYTES}")
        end = LENGTH.size + length
        if len(self._bytes) < end:
            return None
        message = self._received.FromString(bytes(self._bytes[LENGTH.size : end]))
        del self._bytes[:end]
        return message


def line_path(address: str) -> Path | None:
    """Where a worker with that gRPC address takes lines; None: only Unix sockets have them."""
    return Path(f"{address.removeprefix(UNIX)}.line") if address.startswith(UNIX) else None
