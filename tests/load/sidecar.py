"""A sidecar's wire side with known delays: a gRPC server that does as each request's prompt says.

Run as a script in a process of its own, so that it shares no event loop with the client under test. It prints its port.
A prompt is words with a space between them; the arguments `STALL_AT STALL_FOR` make the whole server stand still once,
so many seconds after its first request. A third one is a folder of certificates for mutual TLS.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.v1 import recommendation_pb2_grpc

Context = grpc.aio.ServicerContext[pb.RecommendRequest, pb.RecommendResponse]
Responses = AsyncIterator[pb.RecommendResponse]

BETWEEN_S = 0.03  # of "events": until each of its three
TIMES = pb.StageTimes(queue_ns=2_000_000, pass_ns=5_000_000, total_ns=9_000_000)
FINAL = pb.RecommendResponse(final=pb.Final(items=[pb.Item(item_id="7", rank=1)], times=TIMES))


class Sidecar(recommendation_pb2_grpc.RecommendationServiceServicer):
    def __init__(self, stall_at_s: float, stall_for_s: float) -> None:
        self._stall = stall_at_s, stall_at_s + stall_for_s
        self._first: float | None = None
        self._count = 0

    async def Recommend(self, request: pb.RecommendRequest, context: Context) -> Responses:  # noqa: N802
        await self._stand_still()
        word, _, rest = request.prompt.partition(" ")
        if word == "delay":
            await asyncio.sleep(float(rest) / 1e3)
        elif word == "events":
            await asyncio.sleep(BETWEEN_S)
            yield pb.RecommendResponse(provisional=pb.Provisional(items=FINAL.final.items))
            await asyncio.sleep(BETWEEN_S)
            yield pb.RecommendResponse(beams=pb.Beams(depth=1))
            await asyncio.sleep(BETWEEN_S)
        elif word == "fail":
            await fail(context, grpc.StatusCode[rest].value[0], "as asked", "TEST_REASON")
        elif word == "half":
            self._count += 1
            if self._count % 2:
                await fail(context, grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], "every other one", "OVERLOADED")
        elif word == "nothing":
            return
        elif word == "invalid":
            broken = error_details_pb2.BadRequest()
            broken.field_violations.add(field="top_k", description="0 is below 1")
            await abort(context, grpc.StatusCode.INVALID_ARGUMENT.value[0], "1 problem", broken)
        elif word == "short":
            yield pb.RecommendResponse(final=pb.Final(cut_short=True))
            return
        elif word == "metadata":
            given = dict(context.invocation_metadata() or ())
            if given.get("authorization") != rest:
                await fail(context, grpc.StatusCode.UNAUTHENTICATED.value[0], "who is it", "UNKNOWN_TOKEN")
        yield FINAL

    async def _stand_still(self) -> None:
        now = asyncio.get_running_loop().time()
        self._first = now if self._first is None else self._first
        begin, end = self._stall
        if begin <= now - self._first < end:
            await asyncio.sleep(self._first + end - now)


async def fail(context: Context, code: int, message: str, reason: str) -> None:
    """End the call with a reason."""
    await abort(context, code, message, error_details_pb2.ErrorInfo(reason=reason))


async def abort(context: Context, code: int, message: str, detail: object) -> None:
    """End the call with google.rpc details."""
    packed = Any()
    packed.Pack(detail)  # type: ignore[arg-type]
    await context.abort_with_status(
        rpc_status.to_status(status_pb2.Status(code=code, message=message, details=[packed]))
    )


async def serve(stall_at_s: float, stall_for_s: float, certificates: Path | None) -> None:
    """Serve until standard input closes."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    sidecar = Sidecar(stall_at_s, stall_for_s)
    recommendation_pb2_grpc.add_RecommendationServiceServicer_to_server(sidecar, server)  # type: ignore[no-untyped-call]
    if certificates is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        key, certificate, authority = (
            (certificates / name).read_bytes() for name in ("server.key", "server.crt", "ca.crt")
        )
        credentials = grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    given = sys.argv[1:] or ["-1", "0"]
    asyncio.run(serve(float(given[0]), float(given[1]), Path(given[2]) if len(given) > 2 else None))
