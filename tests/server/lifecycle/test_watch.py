"""A front whose gRPC server has gone says so instead of living on; one that is stopped on purpose says nothing."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from sidebeam.server.lifecycle import background
from sidebeam.server.lifecycle.watch import ServerEndedError, watch


async def started() -> grpc.aio.Server:
    server = grpc.aio.server()
    server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server


async def test_a_server_that_ends_by_itself_is_given_up() -> None:
    server, said = await started(), []
    told = asyncio.Event()

    def give_up(message: str, code: int) -> None:
        said.append((message, code))
        told.set()

    task = background.begin("the gRPC server", watch(server), give_up)
    await asyncio.sleep(0.05)
    assert said == []
    await server.stop(None)
    async with asyncio.timeout(10):
        await told.wait()
    ((message, code),) = said
    assert message.startswith("the gRPC server failed: ServerEndedError: it takes no calls any more")
    assert code == 1
    with pytest.raises(ServerEndedError):
        await task


async def test_a_watch_that_is_cancelled_leaves_its_server_as_it_is() -> None:
    server, said = await started(), []
    task = background.begin("the gRPC server", watch(server), lambda message, code: said.append((message, code)))
    await asyncio.sleep(0.05)
    task.cancel()
    async with asyncio.timeout(10):
        await server.stop(0.1)
    await asyncio.sleep(0.05)
    assert said == []
    assert task.cancelled()
