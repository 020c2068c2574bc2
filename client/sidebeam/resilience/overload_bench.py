"""`sidebeam bench overload`: what a sidecar still does for its callers when far too many requests come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc

from sidebeam.command.sidecar import START_S, Sidecar
from sidebeam.load.mix import Entry, Mix
from sidebeam.resilience.overload_course import Course, Plan, Steps
from sidebeam.resilience.overload_report import as_json
from sidebeam.resilience.status_watch import StatusWatch, is_ready
from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.v1 import recommendation_pb2_grpc

CONNECTIONS = 4
CHANNEL_ARGS = (("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))


class OverloadBench:
    """Measures a sidecar of its own. `progress` is told what a person wants to see."""

    def __init__(
        self, bundle: Path, histories: Sequence[tuple[str, ...]], plan: Plan, progress: Callable[[str], None]
    ) -> None:
        self._bundle = bundle
        self._plan = plan
        self._progress = progress
        request = pb.RecommendRequest(top_k=plan.top_k, final_only=True)
        self._mix = Mix([Entry("", "", 1.0, request)], histories)

    def run(self) -> dict[str, Any]:
        """All figures. Raises SidecarError, NotReadyError."""
        self._progress("a sidecar starts")
        with Sidecar.of(self._bundle, *self._plan.options, "--log-level", "warning") as sidecar:
            course = asyncio.run(self._measure(sidecar))
        return as_json(course, self._plan)

    async def _measure(self, sidecar: Sidecar) -> Course:
        async with AsyncExitStack() as stack:
            recommends: list[Callable[..., Any]] = []
            for _ in range(CONNECTIONS):
                channel = await stack.enter_async_context(
                    grpc.aio.insecure_channel(sidecar.address, options=CHANNEL_ARGS)
                )
                stub = recommendation_pb2_grpc.RecommendationServiceStub(channel)  # type: ignore[no-untyped-call]
                recommends.append(stub.Recommend)
            status = StatusWatch(sidecar.address)
            stack.push_async_callback(status.aclose)
            ready = await status.until(is_ready, START_S)
            steps = Steps(self._plan, self._mix, recommends, sidecar.process.pid, status, self._progress)
            return await steps.taken(ready)
