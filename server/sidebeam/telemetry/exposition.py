"""Metrics over HTTP, for Prometheus to scrape."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from sidebeam.telemetry.metric import METRICS, Metric
from sidebeam.telemetry.metrics import Labels, Metrics


class AddressError(ValueError):
    """Metrics cannot be served where they were asked for; the text says why."""


class Exposition(Collector):
    """Puts the counts into Prometheus' form, at every scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Family]:
        """One family for each metric, in the order in which they are defined."""
        state: dict[Metric, list[tuple[Labels, float]]] = {}
        for metric, labels, value in self._metrics.state():
            state.setdefault(metric, []).append((labels, value))
        for metric in METRICS:
            yield self._family(metric, state.get(metric, []))

    def _family(self, metric: Metric, state: list[tuple[Labels, float]]) -> Family:
        if metric.kind == "histogram":
            histograms = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, histogram in list(self._metrics.histograms[metric].items()):
                histograms.add_metric(labels, histogram.buckets(), histogram.total)
            return histograms
        of = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        family = of(metric.name, metric.help, labels=metric.labels)
        for labels, value in [*list(self._metrics.counts.get(metric, {}).items()), *state]:
            family.add_metric(labels, value)
        return family


@contextmanager
def exposed(metrics: Metrics, address: str) -> Iterator[str]:
    """Serve /metrics at HOST:PORT for the length of the block, in a thread; port 0 takes a free one.

    Yields the address. Raises AddressError.
    """
    host, port = _split(address)
    registry = CollectorRegistry()
    registry.register(Exposition(metrics))
    ProcessCollector(registry=registry)
    server, thread = _start(host, port, registry, address)
    try:
        yield f"{address.rpartition(':')[0]}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _start(host: str, port: int, registry: CollectorRegistry, address: str) -> tuple[WSGIServer, threading.Thread]:
    try:
        return start_http_server(port, host, registry)
    except OSError as error:
        raise AddressError(f"cannot serve metrics on {address}: {error.strerror or error}") from error


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise AddressError(f"telemetry.listen must be HOST:PORT, such as 127.0.0.1:9464; given {address!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)
