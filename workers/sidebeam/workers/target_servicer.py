"""The target's gRPC service: messages in, the engine's events out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import structlog

from sidebeam.catalog import Catalog
from sidebeam.engine import EngineRunner, EngineStopped, SearchStream
from sidebeam.search.request import AcceptedBeams, DraftWanted
from sidebeam.worker.v1 import target_pb2, target_pb2_grpc, tree_pb2
from sidebeam.workers import wire

Context = grpc.aio.ServicerContext[Any, target_pb2.SearchResponse]


class TargetServicer(target_pb2_grpc.TargetServiceServicer):
    """Serves one engine. `draft_wait_s` bounds the wait for each draft asked for; `fail` ends the process."""

    def __init__(self, runner: EngineRunner, draft_wait_s: float, fail: Callable[[], None]) -> None:
        self._runner = runner
        self._catalog: Catalog = runner.engine.catalog
        self._draft_wait_s = draft_wait_s
        self._fail = fail

    async def Describe(self, request: tree_pb2.DescribeRequest, context: Any) -> tree_pb2.DescribeResponse:  # noqa: N802
        """What is loaded, and how fast it is."""
        info = self._runner.engine.describe()
        return tree_pb2.DescribeResponse(
            info=tree_pb2.WorkerInfo(
                catalog_version=info.catalog_version,
                vocab_size=info.vocab_size,
                max_prompt_tokens=info.max_prompt_tokens,
                slots=info.slots,
                kv_bytes=info.kv_bytes,
                curve_rows=[rows for rows, _ in info.curve],
                curve_ns=[ns for _, ns in info.curve],
            )
        )

    async def Search(self, requests: Any, context: Context) -> None:  # noqa: N802
        """One search. A cancelled call leaves the stream's block, and with it the engine."""
        first = await context.read()
        if first is grpc.aio.EOF or first.WhichOneof("step") != "open":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message must open a search")
        opening = first.open
        if opening.catalog_version != self._catalog.version:
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"catalog_version is {opening.catalog_version!r}; this worker has {self._catalog.version!r}",
            )
        try:
            async with self._runner.search(wire.search_request(opening, self._catalog), opening.result_only) as stream:
                await self._relay(stream, context)
        except EngineStopped as error:
            structlog.get_logger().error("engine_stopped", request_id=opening.request_id, exc_info=error)
            self._fail()
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the engine has stopped")
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

    async def _relay(self, stream: SearchStream, context: Context) -> None:
        answers = DraftAnswers(context)
        try:
            async for event in stream:
                if isinstance(event, AcceptedBeams):
                    if event.depth < self._catalog.depth:  # the last beams are the result, which comes with them
                        await context.write(wire.accepted_beams(event))
                elif isinstance(event, DraftWanted):
                    await context.write(wire.draft_wanted(event, self._catalog))
                    tree = await answers.next(self._draft_wait_s)
                    stream.draft(None if tree is None else wire.hint(tree, self._catalog))
                else:
                    await context.write(wire.search_result(event))
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

    async def next(self, timeout_s: float) -> tree_pb2.TokenTree | None:
        """The answer to the question just asked; None if it is late or never comes. A late one is dropped."""
        self._asked += 1
        self._waiting = asyncio.get_running_loop().create_future()
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        try:
            async with asyncio.timeout(timeout_s):
                return await self._waiting
        except TimeoutError:
            return None

    def close(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            self._reader.cancel()

    async def _read(self) -> None:
        while (message := await self._context.read()) is not grpc.aio.EOF:
            self._seen += 1
            if self._seen == self._asked and self._waiting is not None and not self._waiting.done():
                self._waiting.set_result(message.draft)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
