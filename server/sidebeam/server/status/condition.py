"""What the sidecar is like at this moment, for metrics and for status."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Iterator

from sidebeam.catalog import Catalog
from sidebeam.server.admission.admission import Admission
from sidebeam.server.fleet.fleet import Fleet
from sidebeam.server.fleet.worker_link import WorkerLink
from sidebeam.server.lifecycle.reloads import Reloads
from sidebeam.server.recommendation.editions import Editions
from sidebeam.telemetry import metric
from sidebeam.telemetry.metrics import Sample
from sidebeam.v1 import status_pb2 as pb
from sidebeam.worker.v1 import tree_pb2


class Condition:
    """Only looks, so that any thread may ask. `editions` is None for texts alone.

    `is_draining` says whether the sidecar was told to end.
    """

    def __init__(
        self,
        fleet: Fleet,
        admission: Admission,
        editions: Editions | None,
        scoring: str,
        reloads: Reloads,
        is_draining: Callable[[], bool],
    ) -> None:
        self.version = importlib.metadata.version("sidebeam")
        self.scoring = scoring
        self.fleet = fleet
        self.admission = admission
        self.reloads = reloads
        self._editions = editions
        self._is_draining = is_draining
        self._started = time.monotonic()

    @property
    def catalog(self) -> Catalog | None:
        """The one that new requests get."""
        return None if self._editions is None else self._editions.current.catalog

    @property
    def uptime_s(self) -> float:
        """Since the front opened its bundle."""
        return time.monotonic() - self._started

    @property
    def state(self) -> pb.ServingState:
        """What can be done for requests."""
        if self._is_draining():
            return pb.SERVING_STATE_DRAINING
        return pb.SERVING_STATE_SERVING if self.fleet.replicas.any_ready else pb.SERVING_STATE_WAITING

    @property
    def waiting(self) -> int:
        """Requests that wait: for the rate ceiling, for any target worker, or for one of its KV slots."""
        if not self.fleet.replicas.any_ready:
            return self.admission.in_flight
        targets = [worker for worker in self.workers() if worker.kind == pb.WORKER_KIND_TARGET]
        return self.admission.waiting + sum(max(0, target.in_flight - target.slots) for target in targets)

    @property
    def late_drafts(self) -> int:
        """Drafts that came too late to be waited for."""
        return 0 if self.fleet.draft is None else self.fleet.draft.late

    def workers(self) -> list[pb.WorkerStatus]:
        """All workers, targets first."""
        return [self._worker(link) for link in self.fleet.links]

    def samples(self) -> Iterator[Sample]:
        """Everything above, as metrics."""
        yield metric.SERVING, (), self.state == pb.SERVING_STATE_SERVING
        yield metric.IN_FLIGHT, (), self.admission.in_flight
        yield metric.PERMITS, (), self.admission.permits
        yield metric.QUEUE, (), self.waiting
        yield metric.LATE_DRAFTS, (), self.late_drafts
        catalog = self.catalog
        yield metric.BUILD_INFO, (self.version, "" if catalog is None else catalog.version, self.scoring), 1
        for what, counts in self.reloads.counts.items():
            for outcome, n in counts.items():
                yield metric.RELOADS, (what, outcome), n
            last = self.reloads.last.get(what)
            yield metric.RELOAD_OK, (what,), last is None or last.outcome != "refused"
        for worker in self.workers():
            labels = (worker.name,)
            yield metric.WORKER_UP, labels, worker.ready
            yield metric.WORKER_RESTARTS, labels, worker.restarts
            yield metric.WORKER_IN_FLIGHT, labels, worker.in_flight
            yield metric.WORKER_SLOTS, labels, worker.slots

    def _worker(self, link: WorkerLink) -> pb.WorkerStatus:
        info = link.last_info or tree_pb2.WorkerInfo()
        drafts = link is self.fleet.draft_link
        return pb.WorkerStatus(
            name=link.name,
            kind=pb.WORKER_KIND_DRAFT if drafts else pb.WORKER_KIND_TARGET,
            ready=link.is_ready,
            version=info.version,
            runtime=info.runtime,
            device=info.device,
            restarts=link.restarts,
            in_flight=link.in_flight,
            slots=info.slots,
            kv_bytes=info.kv_bytes,
            max_prompt_tokens=info.max_prompt_tokens,
        )
