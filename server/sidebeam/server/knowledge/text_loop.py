"""The write and stream loop of texts: one coroutine for each request."""

from __future__ import annotations

import asyncio
import time

import grpc
import structlog

from sidebeam.bundle import Tokenizer
from sidebeam.server.fleet.learner import Learner
from sidebeam.server.fleet.replicas import Replicas, TargetReplica
from sidebeam.server.knowledge.text_job import TextJob
from sidebeam.server.knowledge.text_stream import TextChanged, TextStream, Write
from sidebeam.server.refusals.refusal import RETRY_AFTER_S, too_late, unavailable
from sidebeam.v1 import knowledge_pb2 as pb
from sidebeam.worker.v1 import draft_pb2, target_pb2


class TextLoop:
    """Knows the workers. `learner` None: nothing is learned. A text is tried on at most `attempts` targets."""

    def __init__(self, replicas: Replicas, learner: Learner | None, tokenizer: Tokenizer, attempts: int) -> None:
        self._replicas = replicas
        self._learner = learner
        self._tokenizer = tokenizer
        self._attempts = attempts

    async def write(self, job: TextJob, send: Write) -> pb.Summary:
        """Write one text, piece by piece. Raises Refusal if it cannot be done by the job's deadline."""
        stream = TextStream(job, self._tokenizer, send)
        try:
            async with asyncio.timeout_at(job.deadline):
                result = await self._text(job, stream)
        except TimeoutError:
            raise self._timed_out(job) from None
        summary = await stream.summary(result)
        if job.learn and self._learner is not None:
            self._learner.learn(
                draft_pb2.LearnRequest(
                    entity_id=job.entity_id, group=job.group, tokens=result.tokens, request_id=job.request_id
                )
            )
        return summary

    async def _text(self, job: TextJob, stream: TextStream) -> target_pb2.TextResult:
        """The whole text; a replica that dies in the middle is replaced by another, or by its successor."""
        for attempt in range(1, self._attempts + 1):
            replica = await self._replicas.acquire()
            job.record.sent_to(replica.link.name)
            seen = replica.link.info
            try:
                return await self._follow(replica, _request(job, stream.sent), stream)
            except TextChanged:
                # Only what was drafted can tell a relaxed text from its twin, and rounding an exact one.
                message = "the target worker went away, and its successor goes on in other words"
                raise unavailable("TARGET_LOST", message, RETRY_AFTER_S) from None
            except grpc.aio.AioRpcError as error:
                if error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION):
                    raise RuntimeError(f"the target worker refused the text: {error.details()}") from error
                reason = str(error.details()).partition("\n")[0]
                structlog.get_logger().warning("text_lost", worker=replica.link.name, attempt=attempt, reason=reason)
                replica.link.lose(seen)
        raise unavailable("TARGET_LOST", f"{self._attempts} target workers in a row went away", RETRY_AFTER_S)

    async def _follow(
        self, replica: TargetReplica, request: target_pb2.WriteRequest, stream: TextStream
    ) -> target_pb2.TextResult:
        stream.restart()
        with replica.write(request) as call:
            async for event in call:
                if event.HasField("result"):
                    if list(event.result.tokens[: len(stream.sent)]) != stream.sent:
                        raise TextChanged
                    return event.result
                await stream.piece(event.piece)
        raise RuntimeError("the target worker ended a text without its result")

    def _timed_out(self, job: TextJob) -> Exception:
        if self._replicas.any_ready:
            waited = (time.perf_counter_ns() - job.arrived_ns) / 1e9
            return too_late(f"the text was not finished within the deadline; waited {waited:.3g} s")
        return unavailable("NO_TARGET", "no target worker was ready before the deadline", RETRY_AFTER_S)


def _request(job: TextJob, written: list[int]) -> target_pb2.WriteRequest:
    return target_pb2.WriteRequest(
        request_id=job.request_id,
        prompt=job.prompt,
        max_new_tokens=job.max_new_tokens,
        entity_id=job.entity_id,
        group=job.group,
        verification=job.verification,
        relaxation=job.relaxation,
        sampling=job.sampling,
        draft=job.draft,
        result_only=job.summary_only,
        written=written,
        traceparent=job.record.traceparent,
    )
