"""A peer on the wire: a gRPC server that behaves as the request's prompt says.

Run as a script in a process of its own, so that it shares no event loop with the client under test. It prints its port,
then a line for whatever a test must know. A prompt is one word, or a word, a space and a number.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_status import rpc_status

from sidebeam.v1 import knowledge_pb2, knowledge_pb2_grpc, recommendation_pb2_grpc
from sidebeam.v1 import recommendation_pb2 as pb

SERVICES = ("", "sidebeam.v1.RecommendationService", "sidebeam.v1.KnowledgeService")
MAX_REQUEST_BYTES = 64 * 1024

Context = grpc.aio.ServicerContext[pb.RecommendRequest, pb.RecommendResponse]
Responses = AsyncIterator[pb.RecommendResponse]


def say(*words: object) -> None:
    """Tell the test."""
    print(*words, flush=True)


def items(count: int) -> list[pb.Item]:
    """Return a ranking of `count` items."""
    return [
        pb.Item(item_id=f"item-{rank}", sid=[f"<a_{rank}>", "<b_7>"], log_prob=-rank / 4, rank=rank, verified=2)
        for rank in range(1, count + 1)
    ]


def final(request_id: str, count: int = 3) -> pb.RecommendResponse:
    """Return an answer of `count` items with a different number in every field."""
    times = pb.StageTimes(
        prompt_ns=1_000_000,
        admission_ns=2_000_000,
        draft_ns=3_000_000,
        queue_ns=4_000_000,
        pass_ns=5_500_000,
        search_ns=6_000_000,
        total_ns=17_000_000,
    )
    return pb.RecommendResponse(
        final=pb.Final(
            items=items(count),
            passes=2,
            rows=61,
            drafted=40,
            accepted=30,
            scoring=pb.SCORING_RAW,
            search=pb.SEARCH_EXACT,
            catalog_version="c0ffee",
            times=times,
            request_id=request_id,
        )
    )


def beams(depth: int, count: int = 2) -> pb.RecommendResponse:
    """Return `count` beams of one depth."""
    accepted = [pb.Beam(sid=[f"<a_{index}>"] * depth, log_prob=-0.5 * (index + 1)) for index in range(count)]
    return pb.RecommendResponse(beams=pb.Beams(depth=depth, beams=accepted))


def provisional(count: int = 2) -> pb.RecommendResponse:
    """Return a guess of `count` items."""
    return pb.RecommendResponse(provisional=pb.Provisional(items=items(count)))


async def abort(context: Context, code: int, message: str, *details: Message) -> None:
    """End the call with google.rpc details."""
    status = status_pb2.Status(code=code, message=message)
    for detail in details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    await context.abort_with_status(rpc_status.to_status(status))


class Peer(recommendation_pb2_grpc.RecommendationServiceServicer):
    """Answers with the behaviour that the prompt names; without a prompt, with a whole stream."""

    async def Recommend(self, request: pb.RecommendRequest, context: Context) -> Responses:  # noqa: N802
        request_id = dict(context.invocation_metadata() or ())["x-request-id"]
        word, _, number = request.prompt.partition(" ")
        behaviour: Callable[..., Responses] = getattr(self, word or "stream")
        say("started", request_id)
        try:
            async for response in behaviour(request, context, request_id, *([int(number)] if number else [])):
                yield response
        except (asyncio.CancelledError, GeneratorExit):  # the latter where gRPC was sending, not waiting for more
            say("cancelled", request_id)
            raise
        say("finished", request_id)

    async def stream(self, request: pb.RecommendRequest, context: Context, request_id: str) -> Responses:
        yield provisional()
        for depth in (1, 2):
            yield beams(depth)
        yield final(request_id)

    async def echo(self, request: pb.RecommendRequest, context: Context, request_id: str) -> Responses:
        """Send the request back, as the catalog version's hexadecimal digits."""
        answer = final(request_id)
        answer.final.catalog_version = request.SerializeToString().hex()
        yield answer

    async def remaining(self, request: pb.RecommendRequest, context: Context, request_id: str) -> Responses:
        """Say what is left of the deadline, in the place of the catalog version."""
        answer = final(request_id)
        answer.final.catalog_version = str(context.time_remaining())
        yield answer

    async def cut(self, request: pb.RecommendRequest, context: Context, request_id: str) -> Responses:
        """Answer before the end: the first item is verified, the second in part, the third not at all."""
        answer = final(request_id)
        answer.final.cut_short = True
        for verified, item in zip((2, 1, 0), answer.final.items, strict=True):
            item.verified = verified
        yield answer

    async def endless(self, request: pb.RecommendRequest, context: Context, request_id: str) -> Responses:
        depth = 0
        while True:
            depth += 1
            yield beams(depth)
            await asyncio.sleep(0.005)

    async def silent(self, request: pb.RecommendRequest, context: Context, request_id: str) -> Responses:
        yield beams(1)
        await asyncio.sleep(60)

    async def many(self, request: pb.RecommendRequest, context: Context, request_id: str, count: int) -> Responses:
        yield beams(1, count)
        yield final(request_id, count)

    async def no_answer(self, request: pb.RecommendRequest, context: Context, request_id: str) -> Responses:
        yield beams(1)

    async def newer(self, request: pb.RecommendRequest, context: Context, request_id: str) -> Responses:
        """Send what a later version may: an unknown kind of event, an unknown enum value."""
        yield pb.RecommendResponse.FromString(b"\x7a\x02\x08\x01")
        answer = final(request_id)
        answer.final.scoring = 9  # type: ignore[assignment]
        yield answer

    async def cancelling(self, request: pb.RecommendRequest, context: Context, request_id: str) -> Responses:
        yield beams(1)
        await context.abort(grpc.StatusCode.CANCELLED, "not my day")

    async def status(self, request: pb.RecommendRequest, context: Context, request_id: str, code: int) -> Responses:
        """Fail with a bare status after one event."""
        yield beams(1)
        await abort(context, code, "as asked")

    async def invalid(self, request: pb.RecommendRequest, context: Context, request_id: str) -> Responses:
        broken = error_details_pb2.BadRequest()
        broken.field_violations.add(field="history.item_ids[1]", description="no item '99' in the catalog")
        broken.field_violations.add(field="top_k", description="0 is below 1")
        await abort(context, code_pb2.INVALID_ARGUMENT, "2 problems", error_details_pb2.DebugInfo(), broken)
        yield final(request_id)

    async def overloaded(self, request: pb.RecommendRequest, context: Context, request_id: str) -> Responses:
        wait = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1, nanos=250_000_000))
        await abort(context, code_pb2.RESOURCE_EXHAUSTED, "no room", wait)
        yield final(request_id)

    async def draining(self, request: pb.RecommendRequest, context: Context, request_id: str) -> Responses:
        wait = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=3))
        await abort(context, code_pb2.UNAVAILABLE, "shutting down", wait)
        yield final(request_id)

    async def contradicting(self, request: pb.RecommendRequest, context: Context, request_id: str) -> Responses:
        """Send details that belong to another status."""
        status = status_pb2.Status(code=code_pb2.NOT_FOUND, message="another").SerializeToString()
        context.set_trailing_metadata((("grpc-status-details-bin", status),))
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "one thing")
        yield final(request_id)


def piece(text: str, *tokens: int) -> knowledge_pb2.GenerateResponse:
    """Return a piece of a text."""
    return knowledge_pb2.GenerateResponse(piece=knowledge_pb2.Piece(token_ids=tokens, text=text))


def summary(request_id: str) -> knowledge_pb2.GenerateResponse:
    """Return the end of a text with a different number in every field."""
    tiers = [knowledge_pb2.Tier(name="entity", drafted=9, accepted=7), knowledge_pb2.Tier(name="global", drafted=3)]
    relaxed = knowledge_pb2.RelaxedToken(position=1, token_id=6, argmax_id=8, rank=2, q=0.25, q_max=0.5)
    return knowledge_pb2.GenerateResponse(
        summary=knowledge_pb2.Summary(
            text="likes häts.",
            token_ids=[5, 6, 7, 2],
            stop=knowledge_pb2.TEXT_STOP_END,
            passes=2,
            rows=21,
            tiers=tiers,
            relaxed=[relaxed],
            divergence=0.75,
            sampling=knowledge_pb2.TextSampling(temperature=0.5, seed=2**62),
            draft_note="pools: damaged",
            pools_version="3.141",
            request_id=request_id,
            verification=knowledge_pb2.TEXT_VERIFICATION_RELAXED,
            times=final(request_id).final.times,
        )
    )


class Scribe(knowledge_pb2_grpc.KnowledgeServiceServicer):
    """Writes a text as the prompt says."""

    async def Generate(self, request: knowledge_pb2.GenerateRequest, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        request_id = dict(context.invocation_metadata() or ())["x-request-id"]
        say("started", request_id)
        behaviour = getattr(self, request.prompt or "stream")
        try:
            async for response in behaviour(request, context, request_id):
                yield response
        except (asyncio.CancelledError, GeneratorExit):
            say("cancelled", request_id)
            raise

    async def stream(self, request: Any, context: Any, request_id: str) -> AsyncIterator[Any]:
        if not request.summary_only:
            yield piece("likes h", 5, 6)
            yield knowledge_pb2.GenerateResponse.FromString(b"\x7a\x02\x08\x01")  # an event of a later version
            yield piece("äts", 7)
            yield piece(".", 2)
        yield summary(request_id)

    async def echo(self, request: Any, context: Any, request_id: str) -> AsyncIterator[Any]:
        """Send the request back, as the pools version's hexadecimal digits."""
        answer = summary(request_id)
        answer.summary.pools_version = request.SerializeToString().hex()
        yield answer

    async def endless(self, request: Any, context: Any, request_id: str) -> AsyncIterator[Any]:
        while True:
            yield piece("la ", 9)
            await asyncio.sleep(0.005)

    async def no_answer(self, request: Any, context: Any, request_id: str) -> AsyncIterator[Any]:
        yield piece("likes", 5)

    async def invalid(self, request: Any, context: Any, request_id: str) -> AsyncIterator[Any]:
        broken = error_details_pb2.BadRequest()
        broken.field_violations.add(field="learn", description="must not be set here: no pools")
        await abort(context, code_pb2.INVALID_ARGUMENT, "1 problem", broken)
        yield summary(request_id)

    async def lost(self, request: Any, context: Any, request_id: str) -> AsyncIterator[Any]:
        yield piece("likes", 5)
        wait = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1))
        await abort(context, code_pb2.UNAVAILABLE, "the target worker went away", wait)


async def serve(warm_up_s: float) -> None:
    """Serve until standard input closes; report SERVING once `warm_up_s` seconds are over."""
    server = grpc.aio.server(
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MAX_REQUEST_BYTES)],
    )
    recommendation_pb2_grpc.add_RecommendationServiceServicer_to_server(Peer(), server)  # type: ignore[no-untyped-call]
    knowledge_pb2_grpc.add_KnowledgeServiceServicer_to_server(Scribe(), server)  # type: ignore[no-untyped-call]
    health = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    for service in SERVICES:
        await health.set(service, health_pb2.HealthCheckResponse.NOT_SERVING)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    say(port)
    stopped = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.sleep(warm_up_s)
    for service in SERVICES:
        await health.set(service, health_pb2.HealthCheckResponse.SERVING)
    await stopped
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0))
