"""The counts behind the metrics. The event loop's thread writes, a scrape reads; no locks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from sidebeam.telemetry import metric
from sidebeam.telemetry.histogram import Histogram
from sidebeam.telemetry.metric import Metric
from sidebeam.telemetry.recent import Recent
from sidebeam.telemetry.request_record import OTHER, RequestRecord
from sidebeam.v1 import knowledge_pb2
from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.worker.v1 import target_pb2

Labels = tuple[str, ...]
Sample = tuple[Metric, Labels, float]
Read = Callable[[], Iterable[Sample]]
"""Reads values that others keep, at the moment of a scrape."""

CODES = ("OK", "CANCELLED", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INTERNAL", "UNAVAILABLE")
REASONS = ("RATE_LIMITED", "OVERLOADED", "OUT_OF_REACH", "STARTING", "NO_TARGET", "TARGET_LOST")
TIERS = ("request", "entity", "group", "global", "replayed")
STAGES = ("prompt", "admission", "draft", "queue", "pass", "search")


class Metrics:
    """Counts requests as they end. Every series that alerts look at is there from the start, as 0."""

    def __init__(self) -> None:
        self.counts: dict[Metric, defaultdict[Labels, float]] = {
            each: defaultdict(float) for each in metric.METRICS if each.kind == "counter"
        }
        self.histograms: dict[Metric, dict[Labels, Histogram]] = {
            each: {} for each in metric.METRICS if each.kind == "histogram"
        }
        self.recent = Recent()
        self._reads: list[Read] = []
        self._stages = [self._histogram(metric.STAGES, stage) for stage in STAGES]
        self._request_passes = self._histogram(metric.REQUEST_PASSES)
        self._pass_rows = self._histogram(metric.PASS_ROWS)
        self._pass_searches = self._histogram(metric.PASS_SEARCHES)
        self._first_provisional = self._histogram(metric.FIRST_PROVISIONAL)
        self._first_beams = self._histogram(metric.FIRST_BEAMS)
        self._requests = self.counts[metric.REQUESTS]
        self._depths: list[Labels] = []
        for each in (metric.REQUEST_ROWS, metric.DRAFTS):
            self.counts[each][()] = 0
        for reason in REASONS:
            self.counts[metric.REJECTED][reason,] = 0

    def expect(self, method: str, search: str = "", verification: str = "") -> None:
        """Show a method's series before its first request."""
        self._histogram(metric.DURATION, method)
        for code in CODES:
            self._requests[method, code, search, verification] += 0

    def expect_depths(self, depths: int) -> None:
        """Show the drafts of depths 1 to `depths`."""
        self._depths = [(str(depth),) for depth in range(1, depths + 1)]
        for labels in self._depths:
            self.counts[metric.DRAFTED][labels] += 0
            self.counts[metric.ACCEPTED][labels] += 0

    def expect_worker(self, worker: str) -> None:
        """Show a target worker's passes."""
        self._histogram(metric.PASS_DURATION, worker)

    def expect_texts(self) -> None:
        """Show the series of texts."""
        for each in (metric.TEXT_PASSES, metric.TEXT_TOKENS):
            self.counts[each][()] += 0
        for tier in TIERS:
            self.counts[metric.TEXT_DRAFTED][tier,] += 0
            self.counts[metric.TEXT_ACCEPTED][tier,] += 0

    def add(self, read: Read) -> None:
        """Let every scrape call `read`; from another thread, so it may only look."""
        self._reads.append(read)

    def state(self) -> Iterable[Sample]:
        """What is true now and counted elsewhere."""
        for read in self._reads:
            yield from read()

    def finished(self, record: RequestRecord, code: str, reason: str) -> None:
        """A request has ended; `reason` is the one that its refusal names, empty for none."""
        self._requests[record.method, code, record.search, record.verification] += 1
        if reason:
            self.counts[metric.REJECTED][reason,] += 1
        if code == "OK":
            self.recent.add(record.total_ns)
            self._histogram(metric.DURATION, record.method).observe(record.total_ns / 1e9)
            if record.final is not None:
                self._answered(record, record.final)
        if record.result is not None:
            self._searched(record.worker, record.result)
        if record.summary is not None:
            self._written(record.summary)

    def _answered(self, record: RequestRecord, final: pb.Final) -> None:
        if record.first_provisional_ns:
            self._first_provisional.observe((record.first_provisional_ns - record.arrived_ns) / 1e9)
        if record.first_beams_ns:
            self._first_beams.observe((record.first_beams_ns - record.arrived_ns) / 1e9)
        times = final.times
        spent = (
            times.prompt_ns, times.admission_ns, times.draft_ns, times.queue_ns, times.pass_ns, times.search_ns
        )  # fmt: skip
        for stage, ns in zip(self._stages, spent, strict=True):
            stage.observe(ns / 1e9)

    def _searched(self, worker: str, result: target_pb2.SearchResult) -> None:
        self._request_passes.observe(result.passes)
        self.counts[metric.REQUEST_ROWS][()] += result.rows
        drafted, accepted = self.counts[metric.DRAFTED], self.counts[metric.ACCEPTED]
        for depth, n, needed in zip(self._depths, result.drafted_by_depth, result.accepted_by_depth, strict=False):
            drafted[depth] += n
            accepted[depth] += needed
        for each in result.pass_log:
            if each.drafted:
                self.counts[metric.DRAFTS][()] += 1
            if each.leads:
                self._histogram(metric.PASS_DURATION, worker).observe(each.pass_ns / 1e9)
                self._pass_rows.observe(each.batch_rows)
                self._pass_searches.observe(each.batch_searches)

    def _written(self, summary: knowledge_pb2.Summary) -> None:
        self.counts[metric.TEXT_PASSES][()] += summary.passes
        self.counts[metric.TEXT_TOKENS][()] += len(summary.token_ids)
        for tier in summary.tiers:
            name = tier.name if tier.name in TIERS else OTHER
            self.counts[metric.TEXT_DRAFTED][name,] += tier.drafted
            self.counts[metric.TEXT_ACCEPTED][name,] += tier.accepted

    def _histogram(self, which: Metric, *labels: str) -> Histogram:
        found = self.histograms[which].get(labels)
        if found is None:
            found = self.histograms[which][labels] = Histogram(which.bounds)
        return found
