"""Watchers of health who leave or never read do not keep news from the others."""

from __future__ import annotations

import asyncio

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sidebeam.server.status.health_service import HealthService
from tests.fuzz import http2
from tests.fuzz.cases import WATCH

STATES = health_pb2.HealthCheckResponse
ASKED = health_pb2.HealthCheckRequest(service="a")


async def test_a_watcher_hears_all_though_another_left_and_a_third_never_reads():
    health = HealthService()
    health.set(("a",), STATES.SERVING)
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    deaf = http2.connect(f"127.0.0.1:{port}")
    whole = http2.call(1, WATCH.path, ASKED.SerializeToString())
    deaf.sendall(http2.PREFACE + http2.settings(initial_window_size=0) + whole)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(30):
        stub = health_pb2_grpc.HealthStub(channel)
        leaving, staying = stub.Watch(ASKED), stub.Watch(ASKED)
        assert (await leaving.read()).status == (await staying.read()).status == STATES.SERVING
        leaving.cancel()
        for state in (STATES.NOT_SERVING, STATES.SERVING):
            health.set(("a",), state)
            assert (await staying.read()).status == state
        assert (await stub.Watch(health_pb2.HealthCheckRequest(service="b")).read()).status == STATES.SERVICE_UNKNOWN
    deaf.close()
    await server.stop(None)
