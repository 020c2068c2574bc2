"""The public service of texts: judge the request, admit it, have it written."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

import grpc

from sidebeam.server.admission.admission import Admission
from sidebeam.server.admission.deadline import answer_by, while_read
from sidebeam.server.config.running_config import RunningConfig
from sidebeam.server.knowledge.text_job import TextJob
from sidebeam.server.knowledge.text_loop import TextLoop
from sidebeam.server.knowledge.text_validation import TextReading, TextRules, read
from sidebeam.server.refusals import refusal
from sidebeam.telemetry import request_record
from sidebeam.v1 import knowledge_pb2 as pb
from sidebeam.v1 import knowledge_pb2_grpc
from sidebeam.v1.recommendation_pb2 import DRAFT_MODE_AUTO, DRAFT_MODE_OFF

ROWS, DEPTH = 64, 32  # drafted for a pass unless the request says otherwise
K, P = 2, 0.1  # of a relaxed text, likewise

Context = grpc.aio.ServicerContext[pb.GenerateRequest, pb.GenerateResponse]


class KnowledgeService(knowledge_pb2_grpc.KnowledgeServiceServicer):
    """`rules` returns what requests are judged by, None until a target worker has said what it holds."""

    def __init__(
        self, loop: TextLoop, admission: Admission, rules: Callable[[], TextRules | None], running: RunningConfig
    ) -> None:
        self._loop = loop
        self._admission = admission
        self._rules = rules
        self._running = running

    async def Generate(self, request: pb.GenerateRequest, context: Context) -> None:  # noqa: N802
        """Stream one text. Raises Refusal."""
        record = request_record.current()
        record.asks_text(request)
        deadline = answer_by(context, self._running.now.texts.default_deadline_s)
        rules = self._rules()
        if rules is None:
            raise refusal.unavailable("STARTING", "no target worker has been ready yet", refusal.RETRY_AFTER_S)
        with self._admission.room():
            reading = read(request, rules)
            if reading.violations:
                raise refusal.invalid(reading.violations)
            read_at = time.perf_counter_ns()
            async with self._admission.turn(deadline, needs_answer=False):
                admitted = time.perf_counter_ns()
                job = TextJob(
                    record=record,
                    request_id=record.request_id,
                    prompt=reading.prompt,
                    entity_id=request.entity_id,
                    group=request.group,
                    max_new_tokens=reading.max_new_tokens,
                    verification=request.verification or pb.TEXT_VERIFICATION_EXACT,
                    relaxation=_relaxation(request),
                    sampling=_sampling(request),
                    draft=self._draft(request.draft),
                    learn=request.learn,
                    summary_only=request.summary_only,
                    prompt_ns=read_at - record.arrived_ns,
                    admission_ns=admitted - read_at,
                    arrived_ns=record.arrived_ns,
                    deadline=deadline,
                )
                _note(job, reading)
                async with while_read(deadline):
                    record.summary = await self._loop.write(job, context.write)

    def _draft(self, asked: pb.TextDraftSettings) -> pb.TextDraftSettings:
        """The settings with nothing left open."""
        mode = DRAFT_MODE_OFF if self._running.now.draft.mode == "off" else asked.mode or DRAFT_MODE_AUTO
        return pb.TextDraftSettings(mode=mode, rows=asked.rows or ROWS, depth=asked.depth or DEPTH)


def _relaxation(request: pb.GenerateRequest) -> pb.Relaxation | None:
    """How far from greedy a token may be; None for other texts. A divergence without a limit stays absent."""
    if request.verification != pb.TEXT_VERIFICATION_RELAXED:
        return None
    rule = pb.Relaxation()
    rule.CopyFrom(request.relaxation)
    rule.k = rule.k or K
    rule.p = rule.p if rule.HasField("p") else P
    return rule


def _sampling(request: pb.GenerateRequest) -> pb.TextSampling | None:
    """How tokens are drawn, with nothing left open; None for other texts."""
    if request.verification != pb.TEXT_VERIFICATION_SAMPLED:
        return None
    asked = request.sampling
    return pb.TextSampling(
        temperature=asked.temperature if asked.HasField("temperature") else 1.0,
        top_k=asked.top_k,
        seed=asked.seed if asked.HasField("seed") else secrets.randbits(63),
    )


def _note(job: TextJob, reading: TextReading) -> None:
    """What the request's record says of it before the text."""
    job.record.prompt_tokens = len(reading.prompt)
    job.record.seed = None if job.sampling is None else job.sampling.seed
