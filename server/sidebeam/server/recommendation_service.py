"""The public service: judge the request, admit it, answer it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any

import grpc
import structlog

from sidebeam.server import refusal
from sidebeam.server.admission import Admission
from sidebeam.server.config import Config
from sidebeam.server.job import Job
from sidebeam.server.loop import RETRY_AFTER_S, Loop
from sidebeam.server.ranking import Ranking
from sidebeam.server.validation import Reading, Rules, read
from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.v1 import recommendation_pb2_grpc

MARGIN_S = 0.05  # of a caller's deadline, kept to tell it what went wrong
MARGIN_SHARE = 0.1  # at most this share of it

Context = grpc.aio.ServicerContext[pb.RecommendRequest, pb.RecommendResponse]


class RecommendationService(recommendation_pb2_grpc.RecommendationServiceServicer):
    """`rules` returns what requests are judged by, None until a target worker has said what it holds."""

    def __init__(
        self, loop: Loop, admission: Admission, rules: Callable[[], Rules | None], ranking: Ranking, config: Config
    ) -> None:
        self._loop = loop
        self._admission = admission
        self._rules = rules
        self._ranking = ranking
        self._config = config

    async def Recommend(self, request: pb.RecommendRequest, context: Context) -> None:  # noqa: N802
        """Stream the events of one recommendation. Raises Refusal."""
        arrived = time.perf_counter_ns()
        deadline = self._deadline(context)
        rules = self._rules()
        if rules is None:
            raise refusal.unavailable("STARTING", "no target worker has been ready yet", RETRY_AFTER_S)
        with self._admission.room():
            reading = read(request, rules)
            if reading.violations:
                raise refusal.invalid(reading.violations)
            read_at = time.perf_counter_ns()
            await self._admission.wait()
            admitted = time.perf_counter_ns()
            job = Job(
                request_id=structlog.contextvars.get_contextvars()["request_id"],
                prompt=reading.prompt,
                top_k=reading.top_k,
                search=request.search or pb.SEARCH_BEAM,
                sampling=_sampling(request),
                excluded_items=reading.excluded if len(reading.excluded) else None,
                excluded_leaves=self._ranking.dead_leaves(reading.excluded) if len(reading.excluded) else b"",
                draft=self._draft(request.draft, rules, reading),
                prompt_ns=read_at - arrived,
                admission_ns=admitted - read_at,
                arrived_ns=arrived,
                final_only=request.final_only,
                deadline=deadline,
            )
            _note(job, await self._loop.answer(job, context.write))

    def _deadline(self, context: Any) -> float:
        remaining: float | None = context.time_remaining()
        now = asyncio.get_running_loop().time()
        if remaining is None:
            return now + self._config.server.default_deadline_s
        return now + remaining - min(MARGIN_S, MARGIN_SHARE * remaining)

    def _draft(self, asked: pb.DraftSettings, rules: Rules, reading: Reading) -> pb.DraftSettings:
        """The settings with nothing left open."""
        if self._config.draft.mode == "off":
            return pb.DraftSettings(mode=pb.DRAFT_MODE_OFF)
        if asked.mode != pb.DRAFT_MODE_EXPLICIT:
            return pb.DraftSettings(mode=asked.mode or pb.DRAFT_MODE_AUTO)
        settings = pb.DraftSettings(
            mode=asked.mode, drafter=asked.drafter or pb.DRAFTER_MODEL, beams=asked.beams, length=asked.length
        )
        if settings.drafter == pb.DRAFTER_MODEL:  # the catalog's levels are taken whole unless the request says else
            width = max(rules.defaults.draft_beams, reading.top_k)
            settings.beams = asked.beams or min(width, self._config.limits.max_draft_beams)
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


def _note(job: Job, final: pb.Final) -> None:
    """What the request's line in the log says about it."""
    times = final.times
    structlog.contextvars.bind_contextvars(
        top_k=job.top_k,
        prompt_tokens=len(job.prompt),
        items=len(final.items),
        seed=None if job.sampling is None else job.sampling.seed,
        passes=final.passes,
        rows=final.rows,
        drafted=final.drafted,
        accepted=final.accepted,
        prompt_ms=round(times.prompt_ns / 1e6, 3),
        admission_ms=round(times.admission_ns / 1e6, 3),
        draft_ms=round(times.draft_ns / 1e6, 3),
        queue_ms=round(times.queue_ns / 1e6, 3),
        pass_ms=round(times.pass_ns / 1e6, 3),
        search_ms=round(times.search_ns / 1e6, 3),
    )
