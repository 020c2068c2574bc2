"""Waiting for a sidecar that is still warming up, by gRPC's health protocol."""

from __future__ import annotations

import asyncio
import math
import time

import grpc
from google.protobuf import wrappers_pb2

from sidebeam.client._errors import ServerError, Unavailable

_SERVICE = ""  # the sidecar as a whole: which services it has depends on its bundle
_STATES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_SERVING = 1

_POLL_S = 0.05


async def wait_until_serving(channel: grpc.aio.Channel, address: str, timeout_s: float) -> None:
    """Return once the service at `address` is SERVING.

    Raises Unavailable after `timeout_s` seconds, ServerError at once if the peer has no health service.
    """
    if not (timeout_s > 0 and math.isfinite(timeout_s)):
        raise ValueError(f"timeout_s: {timeout_s!r} is not a positive number of seconds")
    # The messages of grpc.health.v1 hold one field each, numbered 1: the wrappers below read and write the same bytes,
    # and spare clients a package.
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=wrappers_pb2.StringValue.SerializeToString,
        response_deserializer=wrappers_pb2.Int32Value.FromString,
    )
    request = wrappers_pb2.StringValue(value=_SERVICE)
    until = time.monotonic() + timeout_s
    state = "it does not answer"
    while (remaining_s := until - time.monotonic()) > 0:
        try:
            status = (await check(request, timeout=remaining_s, wait_for_ready=True)).value
            if status == _SERVING:
                return
            state = f"it is {_STATES[status] if status < len(_STATES) else status}"
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise ServerError(f"{address}: no gRPC health service there", code=error.code()) from error
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                state = f"it answers {error.code().name}"
        await asyncio.sleep(min(_POLL_S, max(until - time.monotonic(), 0)))
    raise Unavailable(f"{address}: not ready within {timeout_s:g} s; {state}")
