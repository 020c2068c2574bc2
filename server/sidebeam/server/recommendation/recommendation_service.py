"""The public service: judge the request, admit it, answer it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

import grpc

from sidebeam.server.admission.admission import Admission
from sidebeam.server.admission.deadline import answer_by, while_read
from sidebeam.server.config.config import Config
from sidebeam.server.config.running_config import RunningConfig
from sidebeam.server.recommendation.editions import Editions
from sidebeam.server.recommendation.job import Job
from sidebeam.server.recommendation.loop import Loop
from sidebeam.server.recommendation.validation import Reading, Rules, read
from sidebeam.server.refusals import refusal
from sidebeam.telemetry import request_record
from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.v1 import recommendation_pb2_grpc

Context = grpc.aio.ServicerContext[pb.RecommendRequest, pb.RecommendResponse]


class RecommendationService(recommendation_pb2_grpc.RecommendationServiceServicer):
    """`rules` returns what requests are judged by, None until a target worker has said what it holds."""

    def __init__(
        self,
        loop: Loop,
        admission: Admission,
        rules: Callable[[], Rules | None],
        editions: Editions,
        running: RunningConfig,
    ) -> None:
        self._loop = loop
        self._admission = admission
        self._rules = rules
        self._editions = editions
        self._running = running

    async def Recommend(self, request: pb.RecommendRequest, context: Context) -> None:  # noqa: N802
        """Stream the events of one recommendation. Raises Refusal."""
        record = request_record.current()
        record.asks(request)
        config, rules = self._running.now, self._rules()  # of one moment, and until the end
        deadline = _deadline(request, context, config)
        if rules is None:
            raise refusal.unavailable("STARTING", "no target worker has been ready yet", refusal.RETRY_AFTER_S)
        with self._admission.room(), self._editions.used(rules.edition):
            reading = read(request, rules)
            if reading.violations:
                raise refusal.invalid(reading.violations)
            read_at = time.perf_counter_ns()
            takes_less = request.on_deadline == pb.ON_DEADLINE_BEST_SO_FAR
            async with self._admission.turn(deadline, needs_answer=not takes_less) as visit:
                admitted = time.perf_counter_ns()
                job = Job(
                    record=record,
                    config=config,
                    edition=rules.edition,
                    request_id=record.request_id,
                    prompt=reading.prompt,
                    top_k=reading.top_k,
                    search=request.search or pb.SEARCH_BEAM,
                    sampling=_sampling(request),
                    excluded_items=reading.excluded if len(reading.excluded) else None,
                    excluded_leaves=_dead_leaves(rules, reading),
                    draft=_draft(request.draft, config, rules, reading),
                    prompt_ns=read_at - record.arrived_ns,
                    admission_ns=admitted - read_at,
                    arrived_ns=record.arrived_ns,
                    final_only=request.final_only,
                    best_so_far=takes_less,
                    deadline=deadline,
                )
                _note(job)
                async with while_read(deadline):
                    final = await self._loop.answer(job, record.watch(context.write))
                visit.is_cut_short = final.cut_short
                visit.work_s = (final.times.pass_ns + final.times.search_ns) / 1e9


def _deadline(request: pb.RecommendRequest, context: Any, config: Config) -> float:
    """When the answer must be on its way, in the event loop's time."""
    default_s, cut_s = config.server.default_deadline_s, config.server.cut_margin_ms / 1000
    if request.on_deadline == pb.ON_DEADLINE_BEST_SO_FAR:
        return answer_by(context, default_s, lambda remaining: min(cut_s, remaining / 2))
    return answer_by(context, default_s)


def _dead_leaves(rules: Rules, reading: Reading) -> bytes:
    return rules.edition.ranking.dead_leaves(reading.excluded) if len(reading.excluded) else b""


def _draft(asked: pb.DraftSettings, config: Config, rules: Rules, reading: Reading) -> pb.DraftSettings:
    """The settings with nothing left open."""
    if config.draft.mode == "off":
        return pb.DraftSettings(mode=pb.DRAFT_MODE_OFF)
    if asked.mode != pb.DRAFT_MODE_EXPLICIT:
        return pb.DraftSettings(mode=asked.mode or pb.DRAFT_MODE_AUTO)
    settings = pb.DraftSettings(
        mode=asked.mode, drafter=asked.drafter or pb.DRAFTER_MODEL, beams=asked.beams, length=asked.length
    )
    if settings.drafter == pb.DRAFTER_MODEL:  # the catalog's levels are taken whole unless the request says else
        width = max(rules.defaults.draft_beams, reading.top_k)
        settings.beams = asked.beams or min(width, config.limits.max_draft_beams)
        settings.length = asked.length or max(1, rules.catalog.depth - 1)
    return settings


def _sampling(request: pb.RecommendRequest) -> pb.Sampling | None:
    """How beams are drawn, with nothing left open; None for strict verification."""
    if request.verification != pb.VERIFICATION_RELAXED:
        return None
    asked = request.sampling
    return pb.Sampling(
        temperature=asked.temperature if asked.HasField("temperature") else 1.0,
        top_k=asked.top_k,
        seed=asked.seed if asked.HasField("seed") else secrets.randbits(32),
    )


def _note(job: Job) -> None:
    """What the request's record says of it before the answer."""
    record = job.record
    record.top_k = job.top_k
    record.prompt_tokens = len(job.prompt)
    record.seed = None if job.sampling is None else job.sampling.seed
