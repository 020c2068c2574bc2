"""The status service: workers, versions, load and acceptance, for a person."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

from sidebeam.server.lifecycle.reloads import Outcome
from sidebeam.server.status.condition import Condition
from sidebeam.telemetry import metric
from sidebeam.telemetry.metric import Metric
from sidebeam.telemetry.metrics import Metrics
from sidebeam.v1 import status_pb2 as pb
from sidebeam.v1 import status_pb2_grpc

OUTCOMES: dict[Outcome, pb.ReloadOutcome] = {
    "taken": pb.RELOAD_OUTCOME_TAKEN,
    "partly_taken": pb.RELOAD_OUTCOME_PARTLY_TAKEN,
    "refused": pb.RELOAD_OUTCOME_REFUSED,
}


class StatusService(status_pb2_grpc.StatusServiceServicer):
    """Puts what metrics have counted and what is true now into one answer."""

    def __init__(self, condition: Condition, metrics: Metrics) -> None:
        self._condition = condition
        self._metrics = metrics

    async def GetStatus(self, request: pb.GetStatusRequest, context: Any) -> pb.GetStatusResponse:  # noqa: N802
        """The state now."""
        now = self._condition
        return pb.GetStatusResponse(
            version=now.version,
            state=now.state,
            uptime_s=now.uptime_s,
            catalog=self._catalog(),
            load=self._load(),
            drafts=self._drafts(),
            workers=now.workers(),
            reloads=self._reloads(),
        )

    def _catalog(self) -> pb.CatalogStatus | None:
        catalog = self._condition.catalog
        if catalog is None:
            return None
        return pb.CatalogStatus(version=catalog.version, items=catalog.n_items, scoring=self._condition.scoring)

    def _load(self) -> pb.LoadStatus:
        recent = self._metrics.recent.latencies()
        codes: defaultdict[str, int] = defaultdict(int)
        for (_, code, *_), n in self._metrics.counts[metric.REQUESTS].items():
            codes[code] += int(n)
        return pb.LoadStatus(
            in_flight=self._condition.admission.in_flight,
            permits=self._condition.admission.permits,
            waiting=self._condition.waiting,
            requests_by_code={code: n for code, n in codes.items() if n},
            answers_per_s=recent.per_s,
            p50_ms=recent.p50_ms,
            p99_ms=recent.p99_ms,
        )

    def _drafts(self) -> pb.DraftStatus:
        passes = self._metrics.histograms[metric.REQUEST_PASSES][()]
        return pb.DraftStatus(
            answers=sum(passes.counts),
            passes=int(passes.total),
            drafted_by_depth=self._by_depth(metric.DRAFTED),
            accepted_by_depth=self._by_depth(metric.ACCEPTED),
            late=self._condition.late_drafts,
        )

    def _reloads(self) -> list[pb.ReloadStatus]:
        reloads, told = self._condition.reloads, []
        for what, counts in sorted(reloads.counts.items()):
            last = reloads.last.get(what)
            told.append(
                pb.ReloadStatus(
                    what=what,
                    last=pb.RELOAD_OUTCOME_UNSPECIFIED if last is None else OUTCOMES[last.outcome],
                    age_s=0.0 if last is None else time.monotonic() - last.at,
                    taken=counts["taken"] + counts["partly_taken"],
                    refused=counts["refused"],
                )
            )
        return told

    def _by_depth(self, which: Metric) -> list[int]:
        return [int(n) for n in self._metrics.counts[which].values()]
