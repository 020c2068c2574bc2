"""The target's gRPC service: messages in, the engine's events out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import grpc
import structlog

from sidebeam.catalog import Catalog
from sidebeam.engine import EngineRunner, EngineStopped, EngineStream, HeldSearch, Holding
from sidebeam.search.request import AcceptedBeams, DraftWanted, SearchResult
from sidebeam.texts import TextResult
from sidebeam.worker.v1 import target_pb2, target_pb2_grpc, tree_pb2
from sidebeam.workers import wire
from sidebeam.workers.catalog_calls import NO_CATALOG, CatalogCalls
from sidebeam.workers.catalog_shelf import CatalogShelf
from sidebeam.workers.identity import Identity
from sidebeam.workers.target_model import TargetModel
from sidebeam.workers.text_desk import TextDesk
from sidebeam.workers.work_log import WorkLog

Context = grpc.aio.ServicerContext[Any, target_pb2.SearchResponse]

SETTLE_S = 5.0  # callers answer every question, unless they die


class TargetServicer(CatalogCalls[Holding], target_pb2_grpc.TargetServiceServicer):
    """Serves what `model` does, whose engine `runner` drives: `catalogs` is there if it searches, `desk` if it writes.

    `draft_wait_s` bounds the wait for each draft asked for; `fail` ends the process.
    """

    def __init__(
        self,
        runner: EngineRunner,
        model: TargetModel,
        catalogs: CatalogShelf[Holding] | None,
        desk: TextDesk | None,
        draft_wait_s: float,
        fail: Callable[[], None],
        identity: Identity,
        work_log: WorkLog,
        *,
        takes_lines: bool,
    ) -> None:
        self._runner = runner
        self._model = model
        super().__init__(catalogs)
        self._desk = desk
        self._draft_wait_s = draft_wait_s
        self._fail = fail
        self._identity = identity
        self._work_log = work_log
        self._takes_lines = takes_lines

    async def Describe(self, request: tree_pb2.DescribeRequest, context: Any) -> tree_pb2.DescribeResponse:  # noqa: N802
        """What is loaded, and how fast it is."""
        info = self._model.describe()
        return tree_pb2.DescribeResponse(
            info=tree_pb2.WorkerInfo(
                catalog_version="" if self._catalogs is None else self._catalogs.newest,
                vocab_size=info.vocab_size,
                max_prompt_tokens=info.max_prompt_tokens,
                slots=info.slots,
                kv_bytes=info.kv_bytes,
                curve_rows=[rows for rows, _ in info.curve],
                curve_ns=[ns for _, ns in info.curve],
                version=self._identity.version,
                runtime=self._identity.runtime,
                device=self._identity.device,
                takes_lines=self._takes_lines,
                texts=None if self._desk is None else self._desk.describe(),
            )
        )

    async def Search(self, requests: Any, context: Context) -> None:  # noqa: N802
        """One search. A cancelled call leaves the stream's block, and with it the engine."""
        await context.send_initial_metadata(())  # while nobody waits: the first answer is quicker without
        first = await context.read()
        if first is grpc.aio.EOF or first.WhichOneof("step") != "open":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message must open a search")
        opening = first.open
        holding = None if self._catalogs is None else self._catalogs.get(opening.catalog_version)
        if self._catalogs is None or holding is None:
            why = NO_CATALOG if self._catalogs is None else self._catalogs.refusal(opening.catalog_version)
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, why)
            return
        note = partial(self._work_log.searched, opening, time.perf_counter_ns())
        async with self._errors(opening.request_id, context):
            search = HeldSearch(wire.search_request(opening, holding.catalog), holding)
            async with self._runner.stream(search, opening.result_only) as stream:
                await self._relay(stream, holding.catalog, context, note)

    async def Write(self, request: target_pb2.WriteRequest, context: Any) -> None:  # noqa: N802
        """One text. A cancelled call leaves the stream's block, and with it the engine."""
        if self._desk is None:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "this worker's bundle has no [texts]")
            return
        async with self._errors(request.request_id, context):
            opened, text = time.perf_counter_ns(), self._desk.open(request)
            async with self._runner.stream(text.request, request.result_only) as stream:
                async for event in stream:
                    try:
                        await context.write(text.response(event))
                    finally:  # a caller that has the result ends the call, however far it is here
                        if isinstance(event, TextResult):
                            self._work_log.wrote(request, opened, event)

    @asynccontextmanager
    async def _errors(self, request_id: str, context: Any) -> AsyncIterator[None]:
        """End the call as its error says."""
        try:
            yield
        except EngineStopped as error:
            structlog.get_logger().error("engine_stopped", request_id=request_id, exc_info=error)
            self._fail()
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the engine has stopped")
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

    async def _relay(
        self, stream: EngineStream, catalog: Catalog, context: Context, note: Callable[[SearchResult], None]
    ) -> None:
        answers = DraftAnswers(context)
        try:
            async for event in stream:
                if isinstance(event, AcceptedBeams):
                    if event.depth < catalog.depth:  # the last beams are the result, which comes with them
                        await context.write(wire.accepted_beams(event))
                elif isinstance(event, DraftWanted):
                    await context.write(wire.draft_wanted(event, catalog))
                    tree = await answers.next(self._draft_wait_s)
                    stream.draft(None if tree is None else wire.hint(tree, catalog))
                else:
                    try:
                        await context.write(wire.search_result(event))
                    finally:  # a caller that has the result ends the call, however far it is here
                        note(event)
            await answers.settle()
        finally:
            answers.close()


class DraftAnswers:
    """Reads the caller's answers to DraftWanted. Reading starts with the first question: most searches ask none."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._reader: asyncio.Task[None] | None = None
        self._asked = 0
        self._seen = 0
        self._waiting: asyncio.Future[tree_pb2.TokenTree | None] | None = None
        self._settled = asyncio.Event()
        self._settled.set()

    async def next(self, timeout_s: float) -> tree_pb2.TokenTree | None:
        """The answer to the question just asked; None if it is late or never comes. A late one is dropped."""
        self._asked += 1
        self._settled.clear()
        self._waiting = asyncio.get_running_loop().create_future()
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        try:
            async with asyncio.timeout(timeout_s):
                return await self._waiting
        except TimeoutError:
            return None

    async def settle(self) -> None:
        """Wait, not for long, until every question has its answer, in time or late.

        A caller who writes one to a call that has ended is told of an error, and takes this worker for gone.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await self._settled.wait()

    def close(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            self._reader.cancel()

    async def _read(self) -> None:
        while (message := await self._context.read()) is not grpc.aio.EOF:
            self._seen += 1
            if self._seen == self._asked and self._waiting is not None and not self._waiting.done():
                self._waiting.set_result(message.draft)
            if self._seen >= self._asked:
                self._settled.set()
        self._settled.set()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
