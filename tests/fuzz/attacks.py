"""What comes over raw connections: garbage, half a conversation, floods, and callers who never read or never end."""

from __future__ import annotations

import gzip
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from random import Random

from tests.fuzz import http2
from tests.fuzz.cases import CHECK, GENERATE, GOOD, RECOMMEND, STATUS, WATCH
from tests.fuzz.encodings import mutant

Attack = Callable[[Random], bytes]

GREETING = http2.PREFACE + http2.settings()
ASKED = GOOD[RECOMMEND][0].SerializeToString()
TEXT = GOOD[GENERATE][0].SerializeToString()


def garbage(random: Random) -> bytes:
    """Noise, TLS, HTTP/1."""
    return random.choice(
        [
            random.randbytes(random.randrange(2000)),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random.randbytes(500),
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"\0" * 3000,
        ]
    )


def half_a_preface(random: Random) -> bytes:
    return GREETING[: random.randrange(len(GREETING))]


def headers_without_end(random: Random) -> bytes:
    block = http2.call_headers(RECOMMEND.path)
    return GREETING + http2.frame(http2.HEADERS, 0, 1, block[: random.randrange(len(block))])


def endless_continuation(random: Random) -> bytes:
    many = b"".join(http2.frame(http2.CONTINUATION, 0, 1, random.randbytes(20)) for _ in range(300))
    return headers_without_end(random) + many


def half_open_streams(random: Random) -> bytes:
    """Calls whose message never comes, or never ends."""
    out = GREETING
    for stream in range(1, 41, 2):
        path = random.choice([RECOMMEND, GENERATE, STATUS, CHECK, WATCH]).path
        out += http2.frame(http2.HEADERS, http2.END_HEADERS, stream, http2.call_headers(path))
        claim = random.choice([len(ASKED) + 1, 1 << 20, (1 << 32) - 1])
        out += random.choice([b"", http2.data(stream, http2.message(ASKED, claim=claim), 0)])
    return out


def lying_envelopes(random: Random) -> bytes:
    """Messages that are shorter or longer than they say, or compressed by nobody knows what."""
    out = GREETING
    for stream in range(1, 21, 2):
        claim = random.choice([0, 1, len(ASKED) - 1, len(ASKED) + 9, 5 << 20, (1 << 32) - 1])
        flag = random.choice([0, 1, 2, 255])
        out += http2.frame(http2.HEADERS, http2.END_HEADERS, stream, http2.call_headers(RECOMMEND.path))
        out += http2.data(stream, http2.message(ASKED, flag, claim))
    return out


def bad_compression(random: Random) -> bytes:
    """Bombs, and what only says that it is compressed."""
    out = GREETING
    for stream, payload in enumerate((gzip.compress(bytes(64 << 20), 1), b"noise", gzip.compress(ASKED)[:-6])):
        number = 2 * stream + 1
        encoding = (b"grpc-encoding", random.choice([b"gzip", b"deflate", b"snappy", b"identity"]))
        block = http2.call_headers(RECOMMEND.path, encoding)
        out += http2.frame(http2.HEADERS, http2.END_HEADERS, number, block)
        out += http2.data(number, http2.message(payload, flag=1))
    return out


def resets(random: Random) -> bytes:
    """Calls that are taken back as soon as they are made."""
    out = [GREETING]
    for stream in range(1, 401, 2):
        out.append(http2.call(stream, random.choice([RECOMMEND, GENERATE]).path, ASKED))
        out.append(http2.frame(http2.RST_STREAM, 0, stream, http2.NO_CODE))
    return b"".join(out)


def control_flood(random: Random) -> bytes:
    """PING, SETTINGS and PRIORITY by the hundred, each wanting an answer or some memory."""
    kinds = [
        http2.frame(http2.PING, 0, 0, bytes(8)),
        http2.settings(),
        http2.frame(http2.PRIORITY, 0, 2 * random.randrange(1, 1 << 20) + 1, bytes(5)),
        http2.frame(http2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)),
    ]
    return GREETING + b"".join(random.choice(kinds) for _ in range(500))


def wrong_frames(random: Random) -> bytes:
    """Frames that are too large, on the wrong stream, of no known kind, or overflow a window."""
    wrong = [
        http2.frame(http2.DATA, 0, 0, b"x"),
        http2.frame(http2.DATA, 0, 99, b"x"),
        http2.frame(http2.DATA, 0, 1, b"x", claim=(1 << 24) - 1),
        http2.frame(http2.HEADERS, http2.END_HEADERS | http2.PADDED, 1, b"\xff" + http2.call_headers(RECOMMEND.path)),
        http2.frame(http2.HEADERS, http2.END_HEADERS, 2, http2.call_headers(RECOMMEND.path)),
        http2.frame(http2.WINDOW_UPDATE, 0, 0, struct.pack(">I", (1 << 31) - 1)),
        http2.frame(http2.SETTINGS, 0, 0, b"12345"),
        http2.settings(initial_window_size=(1 << 32) - 1),
        http2.frame(http2.PING, 0, 0, b"1"),
        http2.frame(http2.RST_STREAM, 0, 0, http2.NO_CODE),
        http2.frame(http2.PUSH_PROMISE, 0, 1, bytes(20)),
        http2.frame(random.randrange(10, 256), random.randrange(256), random.getrandbits(31), random.randbytes(40)),
    ]
    calls = http2.call(1, RECOMMEND.path, ASKED)
    return GREETING + random.choice([b"", calls]) + b"".join(random.sample(wrong, 3))


def odd_metadata(random: Random) -> bytes:
    """Keys and values that HTTP/2 can carry and gRPC's libraries would not send, and more of them than there may be."""
    odd = [
        (b"X-Upper", b"1"),
        (b"", b"empty"),
        (b"x-\xff\xfe", b"\xff\xfe"),
        (b"x-request-id", b"\xf0\x9f\x98\x80\x00\r\n"),
        (b"traceparent", b"00-" + b"\xff" * 60),
        (b"grpc-timeout", random.choice([b"", b"-1S", b"99999999999999H", b"1", b"nS", b"0n"])),
        (b"x-bin", b"not base64!"),
        (b":path", b"/twice"),
        (b":unknown", b"1"),
        (b"x-much", b"a" * random.choice([100, 15_000])),
        (b"content-type", b"text/plain"),
    ]
    out = GREETING
    for stream in range(1, 21, 2):
        out += http2.call(stream, RECOMMEND.path, ASKED, *random.sample(odd, random.randint(1, 4)))
    return out


def odd_paths(random: Random) -> bytes:
    """Names of methods that are not UTF-8, no names, or very long: one such call once ended a whole server."""
    right = RECOMMEND.path.encode()
    odd = [
        right[:-3] + b"\xe5" + right[-2:],
        b"\xff",
        right + b"\xc3",
        b"/\xed\xa0\x80/Recommend",
        b"",
        b"/",
        b"//",
        b"Recommend",
        right + b"/",
        right.upper(),
        right + b"?a=1",
        b"/" + b"a" * 8_000,
        b"/%00/%ff",
        b"*",
    ]
    out = GREETING
    for stream, path in enumerate(random.sample(odd, 8)):
        out += http2.call(2 * stream + 1, path, ASKED)
    return out


def accidents(random: Random) -> bytes:
    """A right conversation with wrong bytes in it."""
    right = http2.call(1, RECOMMEND.path, ASKED) + http2.call(3, GENERATE.path, TEXT) + http2.call(5, STATUS.path, b"")
    return GREETING + mutant(right, random)


def deaf(random: Random) -> bytes:
    """Callers without a deadline who open no window, so that nothing can be sent to them."""
    out = http2.PREFACE + http2.settings(initial_window_size=random.choice([0, 0, 1, 60]))
    for stream in range(1, 41, 2):
        method, payload = random.choice([(RECOMMEND, ASKED), (GENERATE, TEXT), (WATCH, b""), (STATUS, b"")])
        out += http2.call(stream, method.path, payload)
    return out


ATTACKS: tuple[Attack, ...] = (
    garbage,
    half_a_preface,
    headers_without_end,
    endless_continuation,
    half_open_streams,
    lying_envelopes,
    bad_compression,
    resets,
    control_flood,
    wrong_frames,
    odd_metadata,
    odd_paths,
    accidents,
    deaf,
)


def attack(address: str, what: bytes, random: Random) -> socket.socket | None:
    """Say it, in one go or in bits; returns the connection where the attacker stays, None where it has hung up."""
    connection = http2.connect(address)
    with suppress(OSError):  # the server may hang up on the attacker at any time
        step = random.choice([len(what) or 1, len(what) or 1, 1 + len(what) // 7])
        for at in range(0, len(what), step):
            connection.sendall(what[at : at + step])
    match random.randrange(3):
        case 0:  # stays, silent
            return connection
        case 1:  # in the middle of everything, without a goodbye
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        case _:
            connection.settimeout(0.05)
            with suppress(OSError):
                connection.recv(65_536)
    connection.close()
    return None
