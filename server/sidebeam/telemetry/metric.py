"""Every metric there is: its name, what it counts, its labels and its buckets. Label values come from closed sets.

`deploy/monitoring/README.md` explains them to operators.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sidebeam.telemetry.histogram import geometric

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True, eq=False)  # itself only: hashing all fields costs microseconds
class Metric:
    """One metric as Prometheus sees it. Base units stand in the name; `bounds` are a histogram's."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


LATENCY = geometric(0.0005, 1.5, 10.0)  # an answer takes some milliseconds; the default deadline is 10 s
STAGE = geometric(0.0001, 2.0, 5.0)
PASSES = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 16.0, 32.0)
ROWS = geometric(1.0, 2.0, 2048.0)  # an engine's longest pass
SEARCHES = geometric(1.0, 2.0, 128.0)

REQUESTS = Metric(
    "sidebeam_requests_total",
    "counter",
    "Requests that ended, by method, gRPC code and what they asked for.",
    ("method", "code", "search", "verification"),
)
REJECTED = Metric(
    "sidebeam_rejected_total", "counter", "Requests turned down, by the reason their error names.", ("reason",)
)
DURATION = Metric(
    "sidebeam_request_duration_seconds",
    "histogram",
    "From a request's arrival to its end, answered requests only.",
    ("method",),
    LATENCY,
)
FIRST_PROVISIONAL = Metric(
    "sidebeam_first_provisional_seconds",
    "histogram",
    "From a request's arrival to its provisional items, where it was sent some.",
    (),
    LATENCY,
)
FIRST_BEAMS = Metric(
    "sidebeam_first_beams_seconds",
    "histogram",
    "From a request's arrival to its first accepted beams, where it was sent some.",
    (),
    LATENCY,
)
STAGES = Metric(
    "sidebeam_stage_duration_seconds", "histogram", "Time of answered requests in each stage.", ("stage",), STAGE
)
IN_FLIGHT = Metric("sidebeam_requests_in_flight", "gauge", "Requests inside.")
PERMITS = Metric("sidebeam_permits", "gauge", "Requests that may be inside.")
QUEUE = Metric("sidebeam_queue_depth", "gauge", "Requests inside that wait: for the rate ceiling or for a KV slot.")
REQUEST_PASSES = Metric(
    "sidebeam_request_passes", "histogram", "Target passes that an answered request took part in.", (), PASSES
)
REQUEST_ROWS = Metric("sidebeam_request_rows_total", "counter", "Rows that answered requests put into target passes.")
DRAFTS = Metric("sidebeam_drafts_total", "counter", "Passes of answered requests that carried drafted nodes.")
DRAFTED = Metric(
    "sidebeam_drafted_tokens_total", "counter", "Nodes scored on a drafter's word, by depth from 1.", ("depth",)
)
ACCEPTED = Metric(
    "sidebeam_accepted_tokens_total", "counter", "Drafted nodes that the answer needed, by depth from 1.", ("depth",)
)
LATE_DRAFTS = Metric("sidebeam_late_drafts_total", "counter", "Drafts that came too late to be waited for.")
TEXT_PASSES = Metric("sidebeam_text_passes_total", "counter", "Target passes that finished texts took part in.")
TEXT_TOKENS = Metric("sidebeam_text_tokens_total", "counter", "Tokens of finished texts, end tokens included.")
TEXT_DRAFTED = Metric(
    "sidebeam_text_drafted_tokens_total", "counter", "Tokens drafted for finished texts, by where from.", ("tier",)
)
TEXT_ACCEPTED = Metric(
    "sidebeam_text_accepted_tokens_total", "counter", "Those of them that are in the texts, by where from.", ("tier",)
)
PASS_DURATION = Metric(
    "sidebeam_pass_duration_seconds", "histogram", "Target passes, each counted once.", ("worker",), STAGE
)
PASS_ROWS = Metric("sidebeam_pass_rows", "histogram", "Rows of a target pass, of all searches in it.", (), ROWS)
PASS_SEARCHES = Metric("sidebeam_pass_searches", "histogram", "Searches in one target pass.", (), SEARCHES)
SERVING = Metric("sidebeam_serving", "gauge", "1 while requests are answered, else 0.")
WORKER_UP = Metric("sidebeam_worker_up", "gauge", "1 while requests are sent to the worker, else 0.", ("worker",))
WORKER_RESTARTS = Metric(
    "sidebeam_worker_restarts_total", "counter", "How often the worker came back, or was started again.", ("worker",)
)
WORKER_IN_FLIGHT = Metric("sidebeam_worker_in_flight", "gauge", "Requests that the worker has.", ("worker",))
WORKER_SLOTS = Metric("sidebeam_worker_slots", "gauge", "Requests that hold KV in the worker at once.", ("worker",))
RELOADS = Metric(
    "sidebeam_reloads_total", "counter", "How often files that changed were read, by how it went.", ("what", "outcome")
)
RELOAD_OK = Metric("sidebeam_reload_ok", "gauge", "0 while the last reading of changed files was refused.", ("what",))
BUILD_INFO = Metric(
    "sidebeam_build_info", "gauge", "Always 1; what is running.", ("version", "catalog_version", "scoring")
)

METRICS = (
    REQUESTS,
    REJECTED,
    DURATION,
    FIRST_PROVISIONAL,
    FIRST_BEAMS,
    STAGES,
    IN_FLIGHT,
    PERMITS,
    QUEUE,
    REQUEST_PASSES,
    REQUEST_ROWS,
    DRAFTS,
    DRAFTED,
    ACCEPTED,
    LATE_DRAFTS,
    TEXT_PASSES,
    TEXT_TOKENS,
    TEXT_DRAFTED,
    TEXT_ACCEPTED,
    PASS_DURATION,
    PASS_ROWS,
    PASS_SEARCHES,
    SERVING,
    WORKER_UP,
    WORKER_RESTARTS,
    WORKER_IN_FLIGHT,
    WORKER_SLOTS,
    RELOADS,
    RELOAD_OK,
    BUILD_INFO,
)
