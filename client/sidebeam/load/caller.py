"""One call: made, read to its end, and timed event by event."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from sidebeam.load.mix import Ask
from sidebeam.v1 import recommendation_pb2 as pb

STAGES = ("prompt", "admission", "draft", "queue", "pass", "search", "total")  # of the server, from its own clocks
OK = "OK"
NO_ANSWER = "NO_ANSWER"  # the stream ended well, but no Final was in it
NEVER = math.nan

Metadata = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Outcome:
    """What became of one request. Times are `time.perf_counter`'s, in seconds; NEVER for what did not happen.

    `code` is gRPC's, or NO_ANSWER; `reason` and `message` are the server's where it failed. `cut_short` answers hold
    what was known by the deadline. `stages_ms` follow STAGES.
    """

    name: str
    request_id: str
    intended: float
    sent: float = NEVER
    first_provisional: float = NEVER
    first_beams: float = NEVER
    ended: float = NEVER
    code: str = NO_ANSWER
    reason: str = ""
    message: str = ""
    cut_short: bool = False
    stages_ms: Sequence[float] = field(default=(NEVER,) * len(STAGES))


class Caller:
    """Makes calls over its channels in turn, each with the deadline `timeout_s` from when it is sent."""

    def __init__(
        self, recommends: Sequence[Callable[..., Any]], timeout_s: float, metadata: Metadata, run_id: str
    ) -> None:
        self._recommends = itertools.cycle(recommends)
        self._timeout_s = timeout_s
        self._metadata = metadata
        self._ids = (f"load-{run_id}-{number}" for number in itertools.count(1))

    async def call(self, ask: Ask, intended: float) -> Outcome:
        """Send `ask` now and read all that comes. An error of the call is an outcome, too."""
        outcome = Outcome(ask.name, next(self._ids), intended)
        metadata = (*self._metadata, ("x-request-id", outcome.request_id))
        outcome.sent = time.perf_counter()
        call = next(self._recommends)(ask.request, timeout=self._timeout_s, metadata=metadata)
        try:
            while isinstance(response := await call.read(), pb.RecommendResponse):
                _note(outcome, response)
        except grpc.aio.AioRpcError as error:
            _note_failure(outcome, error)
        finally:
            call.cancel()
        outcome.ended = time.perf_counter()
        return outcome


def _note(outcome: Outcome, response: pb.RecommendResponse) -> None:
    now = time.perf_counter()
    match response.WhichOneof("event"):
        case "provisional" if math.isnan(outcome.first_provisional):
            outcome.first_provisional = now
        case "beams" if math.isnan(outcome.first_beams):
            outcome.first_beams = now
        case "final":
            outcome.code, outcome.cut_short = OK, response.final.cut_short
            times = response.final.times
            outcome.stages_ms = [getattr(times, f"{stage}_ns") / 1e6 for stage in STAGES]


def _note_failure(outcome: Outcome, error: grpc.aio.AioRpcError) -> None:
    outcome.code, outcome.message, outcome.cut_short = error.code().name, error.details() or "", False
    outcome.stages_ms = (NEVER,) * len(STAGES)
    try:
        status = rpc_status.from_call(error)
    except ValueError:  # details that contradict the status they came with
        return
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status is not None else ():
        if detail.Unpack(info):
            outcome.reason = info.reason
