"""gRPC's health service. That of grpc-health-checking holds a lock while it writes to a watcher, so that one who never
reads stops all news, and forgets the other watchers of a service when one of them leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

Status = int
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Tells what `set` was last told of each service; watchers hear of every change that lasts until they read."""

    def __init__(self) -> None:
        self._states: dict[str, Status] = {}
        self._changed = asyncio.Event()

    def set(self, services: Iterable[str], status: Status) -> None:
        """From now on this is the state of these services."""
        self._states |= dict.fromkeys(services, status)
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        """The state now; NOT_FOUND for a service that is not known."""
        status = self._states.get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802
        """The state now, and each later one, until the caller leaves."""
        last = None
        while True:
            changed = self._changed
            status = self._states.get(request.service, UNKNOWN)
            if status != last:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                last = status
            else:
                await changed.wait()
