"""What a sidecar says of its workers, asked again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import grpc

from sidebeam.v1 import status_pb2 as pb
from sidebeam.v1 import status_pb2_grpc

POLL_S = 0.05
CALL_S = 2.0


class NotReadyError(Exception):
    """The sidecar did not come to be as it should be; the message says for how long it was waited for."""


class StatusWatch:
    """Asks for the state at `address`, over a channel of its own that `aclose` closes."""

    def __init__(self, address: str) -> None:
        # A sidecar that was started again is to be found at once.
        backoff = (("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200))
        self._channel = grpc.aio.insecure_channel(address, options=backoff)
        self._stub = status_pb2_grpc.StatusServiceStub(self._channel)  # type: ignore[no-untyped-call]

    async def aclose(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def now(self) -> pb.GetStatusResponse:
        """The state. Raises AioRpcError."""
        status: pb.GetStatusResponse = await self._stub.GetStatus(pb.GetStatusRequest(), timeout=CALL_S)
        return status

    async def until(self, holds: Callable[[pb.GetStatusResponse], bool], within_s: float) -> pb.GetStatusResponse:
        """Return the first state for which that holds. Raises NotReadyError after `within_s`, or if status is off."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            try:
                if holds(status := await self.now()):
                    return status
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    raise NotReadyError("the sidecar tells no status: telemetry.status must be on") from None
            await asyncio.sleep(POLL_S)
        raise NotReadyError(f"the sidecar did not recover within {within_s:g} s")


def is_ready(status: pb.GetStatusResponse) -> bool:
    """Whether it serves, and all its workers are there."""
    return status.state == pb.SERVING_STATE_SERVING and all(worker.ready for worker in status.workers)


def restarts(status: pb.GetStatusResponse, worker: str) -> int:
    """How often that worker was started again; 0 for one that is not there."""
    return next((each.restarts for each in status.workers if each.name == worker), 0)
