"""The draft's gRPC service: prompts and accepted beams in, token trees out."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np

from sidebeam.engine import DraftModel, DraftSession
from sidebeam.search import Width
from sidebeam.worker.v1 import draft_pb2, draft_pb2_grpc, tree_pb2
from sidebeam.workers import wire

Context = grpc.aio.ServicerContext[Any, draft_pb2.ProposeResponse]


class DraftServicer(draft_pb2_grpc.DraftServiceServicer):
    """Serves one draft model, which only the one thread of `executor` touches."""

    def __init__(self, draft: DraftModel, executor: ThreadPoolExecutor) -> None:
        self._draft = draft
        self._executor = executor

    async def Describe(self, request: tree_pb2.DescribeRequest, context: Any) -> tree_pb2.DescribeResponse:  # noqa: N802
        """What is loaded."""
        draft = self._draft
        return tree_pb2.DescribeResponse(
            info=tree_pb2.WorkerInfo(
                catalog_version=draft.catalog.version,
                vocab_size=draft.vocab_size,
                max_prompt_tokens=draft.max_prompt_tokens,
                slots=draft.model.slots.slots,
                kv_bytes=draft.model.slots.nbytes,
            )
        )

    async def Propose(self, requests: Any, context: Context) -> None:  # noqa: N802
        """One session: the first message opens it, each one is answered by a tree."""
        seat = Seat(self._draft)
        loop = asyncio.get_running_loop()
        try:
            while (message := await context.read()) is not grpc.aio.EOF:
                # If the caller goes away before its turn comes, the work is never done.
                response = await loop.run_in_executor(self._executor, seat.propose, message)
                if response is None:
                    await context.abort(
                        grpc.StatusCode.RESOURCE_EXHAUSTED, "no KV slot is free, or none holds the prompt"
                    )
                await context.write(response)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        finally:
            self._executor.submit(seat.leave)


class Seat:
    """One caller's session. Only the model's thread calls these, in order, so leaving always comes last."""

    def __init__(self, draft: DraftModel) -> None:
        self._draft = draft
        self._session: DraftSession | None = None

    def propose(self, message: draft_pb2.ProposeRequest) -> draft_pb2.ProposeResponse | None:
        """The tree that a message asks for; None if no KV slot can be had. Raises ValueError for a bad message."""
        started = time.perf_counter_ns()
        catalog = self._draft.catalog
        if self._session is None:
            excluded = wire.excluded_leaves(message.excluded_leaves, catalog)
            self._session = self._draft.open(np.array(message.prompt, np.int64), excluded)
            if self._session is None:
                return None
        start = wire.start_beams(message.start, catalog) if message.HasField("start") else None
        width = Width(message.beams, message.top_k, wire.sampling(message))
        drafted = self._session.propose(start, width, message.length)
        tree = wire.token_tree(drafted.nodes, drafted.log_probs, catalog)
        return draft_pb2.ProposeResponse(tree=tree, draft_ns=time.perf_counter_ns() - started)

    def leave(self) -> None:
        """Free the KV slot."""
        if self._session is not None:
            self._session.close()
