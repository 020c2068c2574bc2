"""Messages over a line: whole, in order, and nothing else."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from sidebeam.line import Line, LineLost, line_path
from sidebeam.worker.v1 import target_pb2

WAIT_S = 5


@pytest.fixture
async def ends():
    """A line of search requests, and the bare socket at its other end."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    _, line = await asyncio.get_running_loop().create_unix_connection(lambda: Line(target_pb2.SearchRequest), sock=ours)
    yield line, theirs
    line.close()
    theirs.close()
    await asyncio.sleep(0)


def asks(top_k: int, prompt: int = 0) -> target_pb2.SearchRequest:
    return target_pb2.SearchRequest(open=target_pb2.OpenSearch(top_k=top_k, prompt=[7] * prompt))


def framed(message: target_pb2.SearchRequest) -> bytes:
    data = message.SerializeToString()
    return len(data).to_bytes(4, "little") + data


async def read(line):
    return await asyncio.wait_for(line.read(), WAIT_S)


@pytest.mark.parametrize("chunk", [1, 3, 4, 5, 1000])
async def test_messages_come_whole_and_in_order_however_they_are_cut(ends, chunk):
    line, other = ends
    sent = [asks(1), target_pb2.SearchRequest(), asks(2, prompt=300), asks(3)]
    data = b"".join(map(framed, sent))
    for at in range(0, len(data), chunk):
        await asyncio.get_running_loop().sock_sendall(other, data[at : at + chunk])
        if chunk < 10:
            await asyncio.sleep(0)
    assert [await read(line) for _ in sent] == sent


async def test_a_message_larger_than_the_sockets_buffer_arrives(ends):
    line, other = ends
    large = asks(1, prompt=3_000_000)
    line.write(large)
    data = b""
    while len(data) < len(framed(large)):
        data += await asyncio.wait_for(asyncio.get_running_loop().sock_recv(other, 1 << 20), WAIT_S)
    assert data == framed(large)


@pytest.mark.parametrize(
    "said",
    [((64 << 20) + 1).to_bytes(4, "little"), (3).to_bytes(4, "little") + b"\xff\xff\xff"],
    ids=["length", "bytes"],
)
async def test_what_is_no_message_ends_the_line_after_those_before_it(ends, said):
    line, other = ends
    await asyncio.get_running_loop().sock_sendall(other, framed(asks(1)) + said)
    assert await read(line) == asks(1)
    assert await read(line) is None
    assert not line.is_open


async def test_a_line_whose_other_end_has_gone_says_so_every_time(ends):
    line, other = ends
    assert line.is_open
    other.close()
    assert await read(line) is None
    assert await read(line) is None
    assert not line.is_open
    with pytest.raises(LineLost):
        line.write(asks(1))


async def test_a_closed_line_is_closed_at_both_ends(ends):
    line, other = ends
    line.close()
    assert not line.is_open
    assert await read(line) is None
    assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(other, 1), WAIT_S) == b""


def test_only_unix_sockets_have_lines():
    assert line_path("unix:/run/target-0.sock") == Path("/run/target-0.sock.line")
    assert line_path("10.0.0.7:50051") is None
