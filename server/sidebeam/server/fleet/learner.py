"""Finished texts on their way to the draft worker, which keeps the pools. Nobody waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
import structlog

from sidebeam.server.fleet.worker_link import WorkerLink
from sidebeam.worker.v1 import draft_pb2

SERVICE = "sidebeam.worker.v1.DraftService"
PATIENCE_S = 30.0  # with a worker that is starting again
GRACE_S = 2.0  # at the sidecar's end
MOST_WAITING = 1000  # texts; more are not learned


class Learner:
    """What cannot be learned is told in the log: the text itself has long been with its caller."""

    def __init__(self, link: WorkerLink) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._learn: Callable[..., grpc.aio.UnaryUnaryCall[draft_pb2.LearnRequest, draft_pb2.LearnResponse]] = (
            link.channel.unary_unary(  # type: ignore[assignment]
                f"/{SERVICE}/Learn",
                request_serializer=draft_pb2.LearnRequest.SerializeToString,
                response_deserializer=draft_pb2.LearnResponse.FromString,
            )
        )

    def learn(self, text: draft_pb2.LearnRequest) -> None:
        """Send a text as soon as the worker is up."""
        if len(self._tasks) >= MOST_WAITING:
            _refused(text, f"{MOST_WAITING} texts are waiting for the draft worker, as many as may")
            return
        task = asyncio.create_task(self._send(text))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give what is on its way a moment; to be called before the workers are stopped."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=GRACE_S)
            for task in late:
                task.cancel()

    async def _send(self, text: draft_pb2.LearnRequest) -> None:
        try:
            await self._learn(text, timeout=PATIENCE_S, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            _refused(text, f"{error.code().name}: {error.details()}")


def _refused(text: draft_pb2.LearnRequest, reason: str) -> None:
    structlog.get_logger().warning(
        "text_not_learned", request_id=text.request_id, entity_id=text.entity_id, reason=reason
    )
