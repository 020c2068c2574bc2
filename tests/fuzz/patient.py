"""Looks after the sidecar that is fuzzed: is it right, is it whole, has it grown?"""

from __future__ import annotations

import time
import urllib.request
from dataclasses import dataclass
from typing import Any

import grpc
import psutil

from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.v1 import status_pb2, status_pb2_grpc
from tests.fuzz.cases import GOOD, RECOMMEND
from tests.fuzz.sender import Sender
from tests.server.conftest import Sidecar, until

MEBI = 1 << 20
QUIET_S = 30.0
TURNED_AWAY_S = 90.0  # callers who do not read may hold permits until their deadline, a text's by default for 60 s
KNOWN = GOOD[RECOMMEND][0].SerializeToString()
# gRPC prints these past all logging when it fails a call whose caller has left meanwhile. Of any other traceback lines
# would be left.
PRINTED = (
    "Traceback (most recent call last):",
    '  File "src/python/grpcio/grpc/_cython/',
    "grpc._cython.cygrpc.ExecuteBatchError: ",
)
Answer = list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Size:
    """What the sidecar takes: MiB by process; file descriptors and threads of the front; series of its metrics."""

    mebibytes: dict[str, float]
    descriptors: int
    threads: int
    series: int


class Patient:
    """A sidecar under fuzz, and what it was like before."""

    def __init__(self, sidecar: Sidecar, sender: Sender) -> None:
        self._sidecar = sidecar
        self._sender = sender
        self._processes = {"front": psutil.Process(sidecar.process.pid)}
        self._processes |= {name: sidecar.worker(name) for name in ("target-0", "draft")}
        self._expected = self._answer()

    def check(self) -> None:
        """It gives the answer that it gave at first."""
        answer = self._answer()
        assert [item for item, _ in answer] == [item for item, _ in self._expected]
        assert all(abs(a - b) < 1e-4 for (_, a), (_, b) in zip(answer, self._expected, strict=True))

    def size(self) -> Size:
        """What it takes now, when nobody asks for anything."""
        with urllib.request.urlopen(self._metrics_url, timeout=20) as page:
            series = sum(not line.startswith(b"#") for line in page)
        front = self._processes["front"]
        return Size(
            {name: process.memory_info().rss / MEBI for name, process in self._processes.items()},
            front.num_fds(),
            front.num_threads(),
            series,
        )

    def examine(self) -> None:
        """It has calmed down, no worker was lost, nothing is held, and the log has nothing to regret."""
        self.check()
        until(self._is_idle, QUIET_S)
        status = self._status()
        assert status.state == status_pb2.SERVING_STATE_SERVING
        assert {worker.name: worker.restarts for worker in status.workers if worker.restarts} == {}
        assert not {"INTERNAL", "UNKNOWN", "ABORTED"} & set(status.load.requests_by_code)
        told = [line for line in list(self._sidecar.lines) if not line.startswith(PRINTED)]
        lines = [line for line in told if "Traceback" in line or '"error"' in line]
        assert lines == [], lines[0]
        for event in ("request_failed", "worker_lost", "worker_hangs", "search_lost", "text_lost"):
            assert self._sidecar.events(event) == []
        outside = [line for line in told if not line.startswith("{")]
        assert outside == [], outside[:5]

    def _is_idle(self) -> bool:
        status = self._status()
        return not status.load.in_flight and not any(worker.in_flight for worker in status.workers)

    def _status(self) -> status_pb2.GetStatusResponse:
        with grpc.insecure_channel(self._sidecar.address) as channel:
            stub: Any = status_pb2_grpc.StatusServiceStub(channel)
            answer: status_pb2.GetStatusResponse = stub.GetStatus(status_pb2.GetStatusRequest(), timeout=20)
            return answer

    def _answer(self) -> Answer:
        """As a good caller asks: turned away in a rush, it comes back."""
        end = time.monotonic() + TURNED_AWAY_S
        while True:
            try:
                final = pb.RecommendResponse.FromString(self._sender.answer(KNOWN)).final
                break
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED or time.monotonic() > end:
                    raise
                time.sleep(0.2)
        assert len(final.items) == 5
        return [(item.item_id, item.log_prob) for item in final.items]

    @property
    def _metrics_url(self) -> str:
        (listening,) = self._sidecar.events("metrics_listening")
        return f"http://{listening['address']}/metrics"
