"""HTTP/2 by hand, for what no library would send."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
INITIAL_WINDOW_SIZE = 4
NO_CODE = struct.pack(">I", 8)  # CANCEL

Headers = Iterable[tuple[bytes, bytes]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", claim: int | None = None) -> bytes:
    """One frame; `claim` is the length that it says it has, where it lies."""
    length = len(payload) if claim is None else claim
    return struct.pack(">IBBI", length & 0xFFFFFF, kind, flags, stream)[1:] + payload


def settings(**values: int) -> bytes:
    """A SETTINGS frame; keys are names of this module in lower case."""
    pairs = (struct.pack(">HI", globals()[name.upper()], value) for name, value in values.items())
    return frame(SETTINGS, 0, 0, b"".join(pairs))


def _integer(value: int, prefix_bits: int, flags: int) -> bytes:
    most = (1 << prefix_bits) - 1
    if value < most:
        return bytes([flags | value])
    out = bytearray([flags | most])
    value -= most
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def header_block(headers: Headers) -> bytes:
    """Literals that no table keeps, in plain octets."""
    return b"".join(
        b"\x10" + _integer(len(name), 7, 0) + name + _integer(len(value), 7, 0) + value for name, value in headers
    )


def call_headers(path: str | bytes, *more: tuple[bytes, bytes]) -> bytes:
    """The header block of a gRPC call."""
    return header_block(
        [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path if isinstance(path, bytes) else path.encode()),
            (b":authority", b"localhost"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            *more,
        ]
    )


def message(payload: bytes, flag: int = 0, claim: int | None = None) -> bytes:
    """A gRPC message in its five-byte envelope; `claim` is the length that it says it has, where it lies."""
    return struct.pack(">BI", flag, len(payload) if claim is None else claim) + payload


def call(stream: int, path: str | bytes, payload: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """A whole unary or server-streaming call."""
    return frame(HEADERS, END_HEADERS, stream, call_headers(path, *more)) + data(stream, message(payload))


def data(stream: int, payload: bytes, flags: int = END_STREAM) -> bytes:
    """DATA frames of at most 16 KiB; the last one has `flags`."""
    parts = [payload[at : at + 16_384] for at in range(0, len(payload), 16_384)] or [b""]
    return b"".join(frame(DATA, flags if part is parts[-1] else 0, stream, part) for part in parts)


def connect(address: str) -> socket.socket:
    """A connection on which nothing has been said yet."""
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
