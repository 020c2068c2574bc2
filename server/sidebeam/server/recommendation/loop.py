"""The draft, verify and stream loop: one coroutine for each request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import grpc
import structlog

from sidebeam.line import LineLost
from sidebeam.server.fleet.draft_worker import DraftSession, DraftWorker
from sidebeam.server.fleet.replicas import Replicas, SearchCall
from sidebeam.server.recommendation.event_stream import EventStream, Write
from sidebeam.server.recommendation.guesses import Guesses
from sidebeam.server.recommendation.job import Job
from sidebeam.server.refusals.refusal import RETRY_AFTER_S, too_late, unavailable
from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.worker.v1 import draft_pb2, target_pb2, tree_pb2


class Gone(Exception):
    """The target worker went away in the middle of a search."""


@dataclass(frozen=True, slots=True)
class FirstDraft:
    """What goes into the first pass: the tree, if there is one, the time it took, and the width it was asked with."""

    tree: tree_pb2.TokenTree | None = None
    wait_ns: int = 0
    beams: int = 0


class Loop:
    """Knows the workers. Drafts are hints: without them, or with late ones, every answer is the same."""

    def __init__(
        self,
        replicas: Replicas,
        draft: DraftWorker | None,
        scoring: pb.Scoring,
        guesses: Guesses,
    ) -> None:
        self._replicas = replicas
        self._draft = draft
        self._scoring = scoring
        self._guesses = guesses
        # By top_k, which is bounded, and whether beams are drawn. That of an older catalog will do: it is a hint.
        self._advice: dict[tuple[int, bool], target_pb2.DraftAdvice] = {}

    async def answer(self, job: Job, write: Write) -> pb.Final:
        """Answer one request, event by event. Raises Refusal if it cannot be done by the job's deadline."""
        stream = EventStream(job, self._scoring, write)
        drafter = self._draft if job.draft.mode != pb.DRAFT_MODE_OFF else None
        session = None if drafter is None else drafter.open(_subject(job))
        with ExitStack() as ending:
            if session is not None:
                ending.callback(session.close)
            search: Awaitable[target_pb2.SearchResult] = self._drafted_search(job, session, stream, ending)
            if job.best_so_far:  # what ends its time must not end a message that is half sent
                searching = asyncio.ensure_future(search)
                ending.callback(_drop, searching)
                search = asyncio.shield(searching)
            try:
                async with asyncio.timeout_at(job.deadline):
                    result = await search
            except TimeoutError:
                if (final := await stream.cut_short()) is not None:
                    return final
                raise self._timed_out(job) from None
            return await stream.final(result, 0 if session is None else session.draft_ns)

    async def _drafted_search(
        self, job: Job, session: DraftSession | None, stream: EventStream, ending: ExitStack
    ) -> target_pb2.SearchResult:
        with self._guesses.arrival(job.config.draft) as may_guess:
            first = await self._first_draft(job, session)
            wanted = job.best_so_far or (may_guess and not job.final_only)
            if wanted and session is not None and self._draft is not None and self._draft.is_prompt:
                guessing = asyncio.create_task(self._guess(job, session, stream, first.beams))
                ending.callback(guessing.cancel)
            return await self._search(job, first, session, stream)

    async def _first_draft(self, job: Job, session: DraftSession | None) -> FirstDraft:
        """Wait, not for long, for a draft if the request, or the last advice for its width, wants one."""
        beams, length = self._wanted_draft(job)
        if session is None or not beams or self._draft is None or not self._draft.is_prompt:
            return FirstDraft()
        started = time.perf_counter_ns()
        question = _question(job, beams, min(length, job.edition.catalog.depth - 1))
        response = await self._await_draft(job, session, question, job.config.draft.first_wait_ms)
        if response is None:
            return FirstDraft(beams=beams)
        return FirstDraft(response.tree, time.perf_counter_ns() - started, beams)

    def _wanted_draft(self, job: Job) -> tuple[int, int]:
        if job.draft.drafter == pb.DRAFTER_CATALOG:
            return 0, 0
        if job.draft.mode == pb.DRAFT_MODE_EXPLICIT:
            return job.draft.beams, job.draft.length
        advice = self._advice.get((job.top_k, job.sampling is not None))
        return (0, 0) if advice is None else (min(advice.beams, job.config.limits.max_draft_beams), advice.length)

    async def _await_draft(
        self, job: Job, session: DraftSession, question: draft_pb2.ProposeRequest, wait_ms: float
    ) -> draft_pb2.ProposeResponse | None:
        answer = session.ask(question)
        done, _ = await asyncio.wait((answer,), timeout=wait_ms / 1000)
        if not done:
            assert self._draft is not None
            self._draft.was_late(job.config.draft.pause_ms / 1000)
            return None
        return answer.result()

    async def _guess(self, job: Job, session: DraftSession, stream: EventStream, beams: int) -> None:
        """Send provisional items as soon as the draft has them; runs beside the search."""
        beams = min(max(beams, job.top_k), job.config.limits.max_draft_beams)
        with self._guesses.making(), suppress(grpc.aio.BaseError):  # the caller may have gone: not this task's affair
            response = await session.ask(_question(job, beams, job.edition.catalog.depth))
            if response is not None:
                await stream.provisional(response.tree)

    async def _search(
        self, job: Job, first: FirstDraft, session: DraftSession | None, stream: EventStream
    ) -> target_pb2.SearchResult:
        """The target's answer; a replica that dies in the middle is replaced by another, or by its successor."""
        opening = target_pb2.SearchRequest(
            open=target_pb2.OpenSearch(
                request_id=job.request_id,
                prompt=job.prompt,
                top_k=job.top_k,
                search=job.search,
                sampling=job.sampling,
                excluded_leaves=job.excluded_leaves,
                draft=job.draft,
                tree=first.tree,
                draft_ns=first.wait_ns,
                result_only=job.final_only and not job.best_so_far,
                catalog_version=job.edition.catalog.version,
                traceparent=job.record.traceparent,
            )
        )
        attempts = job.config.supervision.request_attempts
        for attempt in range(1, attempts + 1):
            replica = await self._replicas.acquire()
            job.record.sent_to(replica.link.name)
            seen = replica.link.info
            try:
                with replica.search() as call:
                    return await self._follow(call, opening, job, session, stream)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError, LineLost, Gone) as error:
                if isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                    raise RuntimeError(f"the target worker refused the search: {error.details()}") from error
                reason = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
                structlog.get_logger().warning(
                    "search_lost", worker=replica.link.name, attempt=attempt, reason=str(reason).partition("\n")[0]
                )
                replica.link.lose(seen)
        raise unavailable("TARGET_LOST", f"{attempts} target workers in a row went away", RETRY_AFTER_S)

    async def _follow(
        self,
        call: SearchCall,
        opening: target_pb2.SearchRequest,
        job: Job,
        session: DraftSession | None,
        stream: EventStream,
    ) -> target_pb2.SearchResult:
        await call.write(opening)
        while True:
            event = await call.read()
            if not isinstance(event, target_pb2.SearchResponse):
                raise Gone
            match event.WhichOneof("event"):
                case "beams":
                    await stream.beams(event.beams)
                case "draft_wanted":
                    tree = await self._draft_below(job, event.draft_wanted, session)
                    await call.write(target_pb2.SearchRequest(draft=tree))
                case "result":
                    self._advice[job.top_k, job.sampling is not None] = event.result.advice
                    job.record.result = event.result
                    return event.result
                case "refusal" if event.refusal.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]:
                    raise RuntimeError(f"the target worker refused the search: {event.refusal.details}")
                case "refusal":
                    raise Gone(event.refusal.details)

    async def _draft_below(
        self, job: Job, wanted: target_pb2.DraftWanted, session: DraftSession | None
    ) -> tree_pb2.TokenTree:
        if session is None or self._draft is None or not self._draft.is_prompt:
            return tree_pb2.TokenTree()
        question = _question(job, wanted.beams, wanted.length)
        if wanted.HasField("start"):
            question.start.CopyFrom(wanted.start)
        response = await self._await_draft(job, session, question, job.config.target.draft_wait_ms)
        return tree_pb2.TokenTree() if response is None else response.tree

    def _timed_out(self, job: Job) -> Exception:
        if self._replicas.any_ready:
            waited = (time.perf_counter_ns() - job.arrived_ns) / 1e9
            return too_late(f"no answer within the deadline; waited {waited:.3g} s")
        return unavailable("NO_TARGET", "no target worker was ready before the deadline", RETRY_AFTER_S)


def _drop(task: asyncio.Future[target_pb2.SearchResult]) -> None:
    """End a search whose outcome nobody waits for."""
    task.cancel()
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


def _question(job: Job, beams: int, length: int) -> draft_pb2.ProposeRequest:
    return draft_pb2.ProposeRequest(beams=beams, length=length, top_k=job.top_k, sampling=job.sampling)


def _subject(job: Job) -> draft_pb2.ProposeRequest:
    """What a draft is to be about."""
    return draft_pb2.ProposeRequest(
        prompt=job.prompt,
        excluded_leaves=job.excluded_leaves,
        request_id=job.request_id,
        traceparent=job.record.traceparent,
        catalog_version=job.edition.catalog.version,
    )
