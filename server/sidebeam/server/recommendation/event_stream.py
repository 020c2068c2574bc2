"""What one caller is sent: at most one Provisional, each depth once and in order, one Final."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import numpy as np

from sidebeam.server.recommendation.best_so_far import BestSoFar
from sidebeam.server.recommendation.job import Job
from sidebeam.server.recommendation.ranking import Floats, Ints
from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.worker.v1 import target_pb2, tree_pb2

Write = Callable[[pb.RecommendResponse], Awaitable[None]]


class EventStream:
    """Turns the workers' words into the caller's. A replayed search repeats depths; the caller does not see it."""

    def __init__(self, job: Job, scoring: pb.Scoring, write: Write) -> None:
        self._job = job
        self._catalog = catalog = job.edition.catalog
        self._ranking = job.edition.ranking
        self._scoring = scoring
        self._write = write
        self._turn = asyncio.Lock()  # a call takes one message at a time
        self._depth = 0
        self._ended = False
        self._so_far = BestSoFar(catalog) if job.best_so_far else None

    async def provisional(self, tree: tree_pb2.TokenTree) -> None:
        """Send the draft's whole items, unless the answer came first, nobody wants them, or there are none."""
        if self._ended or not len(tree.tokens) == len(tree.parents) == len(tree.log_probs):
            return
        try:
            nodes = self._catalog.resolve(np.array(tree.tokens, np.int64), np.array(tree.parents, np.int64))
        except ValueError:  # a draft that makes no sense is no draft
            return
        log_probs = np.array(tree.log_probs, np.float64)
        if self._so_far is not None:
            self._so_far.draft(nodes[nodes >= 0], log_probs[nodes >= 0])
        if self._job.final_only:
            return
        leaves = np.flatnonzero(self._catalog.node_leaf(nodes) >= 0)
        leaves = leaves[np.argsort(-log_probs[leaves], kind="stable")][: self._job.top_k]
        items = self._ranking.items(
            self._catalog.node_leaf(nodes[leaves]),
            log_probs[leaves],
            np.zeros(len(leaves), np.int64),
            self._job.excluded_items,
            self._job.top_k,
        )
        async with self._turn:
            if items and not self._ended:
                await self._write(pb.RecommendResponse(provisional=pb.Provisional(items=items)))

    async def beams(self, accepted: target_pb2.AcceptedBeams) -> None:
        """Send the beams of a depth that has not been sent yet."""
        nodes, log_probs = np.array(accepted.nodes, np.int64), np.array(accepted.log_probs, np.float64)
        if self._so_far is not None:
            self._so_far.accept(accepted.depth, nodes, log_probs)
        await self._beams(accepted.depth, nodes, log_probs)

    async def final(self, result: target_pb2.SearchResult, draft_ns: int) -> pb.Final:
        """Send the last beams and the answer made of them."""
        leaves, log_probs = np.array(result.leaves, np.int64), np.array(result.log_probs, np.float64)
        await self._beams(self._catalog.depth, self._catalog.leaf_node(leaves), log_probs)
        verified = np.full(len(leaves), self._catalog.depth)
        final = self._final(leaves, log_probs, verified)
        final.passes, final.rows = result.passes, result.rows
        final.drafted, final.accepted = result.drafted, result.accepted
        times = final.times
        times.draft_ns = draft_ns
        times.queue_ns, times.pass_ns, times.search_ns = result.queue_ns, result.pass_ns, result.search_ns
        async with self._turn:
            self._ended = True
            await self._write(pb.RecommendResponse(final=final))
        return final

    async def cut_short(self) -> pb.Final | None:
        """Send what is known by now, if the caller wants it; None: it does not, or nothing is known."""
        if self._so_far is None or self._so_far.is_empty:
            return None
        async with self._turn:
            self._ended = True
            job = self._job
            best = self._so_far.complete(np.frombuffer(job.excluded_leaves, "<u4").astype(np.int64), job.top_k)
            final = self._final(best.leaves, best.log_probs, best.verified)
            final.cut_short = True
            await self._write(pb.RecommendResponse(final=final))
        return final

    def _final(self, leaves: Ints, log_probs: Floats, verified: Ints) -> pb.Final:
        job = self._job
        return pb.Final(
            items=self._ranking.items(leaves, log_probs, verified, job.excluded_items, job.top_k),
            scoring=self._scoring,
            search=job.search,
            catalog_version=self._catalog.version,
            request_id=job.request_id,
            verification=pb.VERIFICATION_STRICT if job.sampling is None else pb.VERIFICATION_RELAXED,
            sampling=job.sampling,
            times=pb.StageTimes(
                prompt_ns=job.prompt_ns,
                admission_ns=job.admission_ns,
                total_ns=time.perf_counter_ns() - job.arrived_ns,
            ),
        )

    async def _beams(self, depth: int, nodes: Ints, log_probs: Floats) -> None:
        if depth <= self._depth or self._job.final_only:
            return
        self._depth = depth
        event = self._ranking.beams(depth, nodes, log_probs)
        async with self._turn:
            if not self._ended:
                await self._write(event)
