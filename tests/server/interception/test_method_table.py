"""Interceptors are asked for a method's handler once, however many calls it gets."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from sidebeam.server.interception.method_table import MethodTable


class Counting(grpc.aio.ServerInterceptor):
    """Stands behind the table, and notes what it is asked for."""

    def __init__(self):
        self.asked = []

    async def intercept_service(self, continuation, handler_call_details):
        self.asked.append(handler_call_details.method)
        return await continuation(handler_call_details)


async def echo(request, context):
    return request


async def reverse(request, context):
    return request[::-1]


async def answers(*methods):
    """What the methods answer, one call after the other, and what the interceptor was asked for."""
    counting = Counting()
    server = grpc.aio.server(interceptors=[MethodTable(), counting])
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Reverse": grpc.unary_unary_rpc_method_handler(reverse),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("it.Service", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    said = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for method in methods:
            try:
                said.append(await channel.unary_unary(f"/it.Service/{method}")(b"abc"))
            except grpc.aio.AioRpcError as error:
                said.append(error.code())
    await server.stop(None)
    return said, counting.asked


def test_a_handler_is_made_once_for_each_method():
    said, asked = asyncio.run(answers("Echo", "Reverse", "Echo", "Reverse", "Echo"))
    assert said == [b"abc", b"cba", b"abc", b"cba", b"abc"]
    assert asked == ["/it.Service/Echo", "/it.Service/Reverse"]


@pytest.mark.parametrize("times", [1, 3])
def test_methods_that_nobody_knows_are_not_kept(times):
    said, asked = asyncio.run(answers(*["Other"] * times))
    assert said == [grpc.StatusCode.UNIMPLEMENTED] * times
    assert asked == ["/it.Service/Other"] * times
