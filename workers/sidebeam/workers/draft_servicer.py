"""The draft's gRPC service: prompts and accepted beams in, token trees out; finished texts in, for the pools."""

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
from sidebeam.workers.catalog_calls import CatalogCalls
from sidebeam.workers.catalog_shelf import CatalogShelf
from sidebeam.workers.identity import Identity
from sidebeam.workers.pool_keeper import PoolKeeper
from sidebeam.workers.work_log import WorkLog

Context = grpc.aio.ServicerContext[Any, draft_pb2.ProposeResponse]


class DraftServicer(CatalogCalls[DraftModel], draft_pb2_grpc.DraftServiceServicer):
    """Serves one draft model, which only the one thread of `executor` touches, and pools; either may be None.

    `catalogs` is there if the model is: it by version, on each catalog that is held.
    """

    def __init__(
        self,
        draft: DraftModel | None,
        catalogs: CatalogShelf[DraftModel] | None,
        executor: ThreadPoolExecutor,
        keeper: PoolKeeper | None,
        identity: Identity,
        work_log: WorkLog,
    ) -> None:
        self._draft = draft
        super().__init__(catalogs)
        self._executor = executor
        self._keeper = keeper
        self._identity = identity
        self._work_log = work_log

    async def Describe(self, request: tree_pb2.DescribeRequest, context: Any) -> tree_pb2.DescribeResponse:  # noqa: N802
        """What is loaded."""
        texts = None if self._keeper is None else tree_pb2.TextInfo(tokenizer=self._keeper.fingerprint)
        identity = self._identity
        info = tree_pb2.WorkerInfo(
            texts=texts, version=identity.version, runtime=identity.runtime, device=identity.device
        )
        draft = self._draft
        if draft is not None and self._catalogs is not None:
            info.catalog_version = self._catalogs.newest
            info.vocab_size = draft.vocab_size
            info.max_prompt_tokens = draft.max_prompt_tokens
            info.slots = draft.model.slots.slots
            info.kv_bytes = draft.model.slots.nbytes
        return tree_pb2.DescribeResponse(info=info)

    async def Propose(self, requests: Any, context: Context) -> None:  # noqa: N802
        """One session: the first message opens it, each one is answered by a tree."""
        if self._catalogs is None:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "this worker has no draft model")
            return
        message = await context.read()
        if message is grpc.aio.EOF:
            return
        draft = self._catalogs.get(message.catalog_version)
        if draft is None:
            why = self._catalogs.refusal(message.catalog_version)
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, why)
            return
        seat = Seat(draft, self._work_log)
        loop = asyncio.get_running_loop()
        try:
            while message is not grpc.aio.EOF:
                # If the caller goes away before its turn comes, the work is never done.
                response = await loop.run_in_executor(self._executor, seat.propose, message)
                if response is None:
                    await context.abort(
                        grpc.StatusCode.RESOURCE_EXHAUSTED, "no KV slot is free, or none holds the prompt"
                    )
                await context.write(response)
                message = await context.read()
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        finally:
            self._executor.submit(seat.leave)

    async def Learn(self, request: draft_pb2.LearnRequest, context: Any) -> draft_pb2.LearnResponse:  # noqa: N802
        """Queue a finished text."""
        if self._keeper is None:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "this worker has no pools")
        elif not request.entity_id or not request.tokens:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "entity_id and tokens must not be empty")
        else:
            self._keeper.learn(request)
        return draft_pb2.LearnResponse()


class Seat:
    """One caller's session. Only the model's thread calls these, in order, so leaving always comes last."""

    def __init__(self, draft: DraftModel, work_log: WorkLog) -> None:
        self._draft = draft
        self._work_log = work_log
        self._request_id = self._traceparent = ""
        self._session: DraftSession | None = None

    def propose(self, message: draft_pb2.ProposeRequest) -> draft_pb2.ProposeResponse | None:
        """The tree that a message asks for; None if no KV slot can be had. Raises ValueError for a bad message."""
        started = time.perf_counter_ns()
        catalog = self._draft.catalog
        if self._session is None:
            self._request_id, self._traceparent = message.request_id, message.traceparent
            excluded = wire.excluded_leaves(message.excluded_leaves, catalog)
            self._session = self._draft.open(np.array(message.prompt, np.int64), excluded)
            if self._session is None:
                return None
        start = wire.start_beams(message.start, catalog) if message.HasField("start") else None
        width = Width(message.beams, message.top_k, wire.sampling(message))
        drafted = self._session.propose(start, width, message.length)
        tree = wire.token_tree(drafted.nodes, drafted.log_probs, catalog)
        ended = time.perf_counter_ns()
        self._work_log.drafted(self._request_id, self._traceparent, (started, ended), len(drafted.nodes))
        return draft_pb2.ProposeResponse(tree=tree, draft_ns=ended - started)

    def leave(self) -> None:
        """Free the KV slot."""
        if self._session is not None:
            self._session.close()
