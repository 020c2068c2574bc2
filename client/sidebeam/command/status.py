"""`sidebeam status`: what a running sidecar is, and how it is doing."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import grpc
from google.protobuf.json_format import MessageToDict

from sidebeam.command import connection
from sidebeam.v1 import status_pb2 as pb
from sidebeam.v1 import status_pb2_grpc

SUMMARY = "Show workers, versions, load and acceptance of a running sidecar."

_STATES = {
    pb.SERVING_STATE_WAITING: "waiting for a target worker",
    pb.SERVING_STATE_SERVING: "serving",
    pb.SERVING_STATE_DRAINING: "draining",
}
_KINDS = {pb.WORKER_KIND_TARGET: "target", pb.WORKER_KIND_DRAFT: "draft"}
_OUTCOMES = {
    pb.RELOAD_OUTCOME_TAKEN: ("reloaded", ""),
    pb.RELOAD_OUTCOME_PARTLY_TAKEN: ("partly reloaded", "; the rest needs a restart"),
    pb.RELOAD_OUTCOME_REFUSED: ("not reloaded", "; see the log"),
}
_REASONS = {
    grpc.StatusCode.UNAVAILABLE: "nothing answers there",
    grpc.StatusCode.DEADLINE_EXCEEDED: "it did not answer in time",
    grpc.StatusCode.UNIMPLEMENTED: "it tells no status: it is another service, or has telemetry.status off",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    connection.add_arguments(parser)
    parser.add_argument("--timeout-s", type=_positive, default=5.0, metavar="S", help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Ask once and print. Returns 0 if it serves, 1 if it does not, or does not answer, 2 for bad options."""
    try:
        there = connection.connection(args)
    except connection.ConnectionOptionError as error:
        print(f"sidebeam status: {error}", file=sys.stderr)
        return 2
    try:
        status = _ask(there, args.timeout_s)
    except grpc.RpcError as error:
        reason = _REASONS.get(error.code()) or f"{error.code().name}: {error.details()}"
        print(f"sidebeam status: {args.address}: {reason}", file=sys.stderr)
        return 1
    print(_json(status) if args.json else render(args.address, status))
    return 0 if status.state == pb.SERVING_STATE_SERVING else 1


def render(address: str, status: pb.GetStatusResponse) -> str:
    """The status as text of at most 80 columns."""
    state = _STATES.get(status.state, "in an unknown state")
    catalog = status.catalog
    head = [
        f"sidebeam {status.version} on {address}: {state}, up {_duration(status.uptime_s)}",
        f"catalog {catalog.version}: {catalog.items:,} items, {catalog.scoring} scoring",
        *_reloads(status.reloads),
    ]
    return "\n\n".join(["\n".join(head), _workers(status.workers), _load(status.load), _drafts(status.drafts)])


def _ask(there: connection.Connection, timeout_s: float) -> pb.GetStatusResponse:
    with there.blocking_channel((("grpc.enable_http_proxy", 0),)) as channel:
        stub = status_pb2_grpc.StatusServiceStub(channel)  # type: ignore[no-untyped-call]
        answer: pb.GetStatusResponse = stub.GetStatus(pb.GetStatusRequest(), timeout_s, there.metadata)
        return answer


def _json(status: pb.GetStatusResponse) -> str:
    fields = MessageToDict(status, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return json.dumps(_with_numbers(fields), indent=2)


def _with_numbers(value: object) -> object:
    """Protobuf's JSON writes 64-bit numbers as text; nothing here is that large."""
    if isinstance(value, dict):
        return {key: each if key in ("version", "name") else _with_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_numbers(each) for each in value]
    return int(value) if isinstance(value, str) and value.isdigit() else value


def _workers(workers: Sequence[pb.WorkerStatus]) -> str:
    rows = [("worker", "kind", "state", "in use", "KV", "restarts", "runs")]
    for worker in workers:
        runs = " ".join(filter(None, (worker.version, worker.device, f"({worker.runtime})" if worker.runtime else "")))
        kv = f"{worker.kv_bytes / (1 << 20):,.0f} MiB" if worker.kv_bytes else "-"
        use = f"{worker.in_flight} of {worker.slots}" if worker.slots else str(worker.in_flight)
        state = "ready" if worker.ready else "lost" if worker.version else "starting"
        rows.append((worker.name, _KINDS.get(worker.kind, "?"), state, use, kv, str(worker.restarts), runs or "-"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(line[:80] for line in lines)


def _reloads(reloads: Sequence[pb.ReloadStatus]) -> list[str]:
    """A line for each thing that was read again."""
    told = []
    for each in reloads:
        if each.last != pb.RELOAD_OUTCOME_UNSPECIFIED:
            word, then = _OUTCOMES.get(each.last, ("read again", ""))
            counts = f"{each.taken:,} taken, {each.refused:,} refused"
            told.append(f"{each.what} {word} {_duration(each.age_s)} ago ({counts}){then}")
    return told


def _load(load: pb.LoadStatus) -> str:
    inside = f"{load.in_flight} of {load.permits} requests inside, {load.waiting} of them waiting"
    if load.HasField("p50_ms"):
        recent = f"{load.answers_per_s:.1f} answers/s, p50 {load.p50_ms:.1f} ms, p99 {load.p99_ms:.1f} ms"
    else:
        recent = "no answers"
    ended = ", ".join(f"{n:,} {code}" for code, n in sorted(load.requests_by_code.items(), key=lambda each: -each[1]))
    return "\n".join(
        [f"now          {inside}", f"last minute  {recent}", *_wrapped("so far       ", ended or "nothing")]
    )


def _wrapped(head: str, text: str) -> list[str]:
    """`text` behind `head`, broken at commas to 80 columns."""
    lines = [head]
    for part in text.split(", "):
        if len(lines[-1]) > len(head) and len(lines[-1]) + 2 + len(part) > 80:
            lines[-1] += ","
            lines.append(" " * len(head))
        lines[-1] += (", " if len(lines[-1]) > len(head) else "") + part
    return lines


def _drafts(drafts: pb.DraftStatus) -> str:
    if not drafts.answers:
        return "drafts       no answers yet"
    passes = f"drafts       {drafts.passes / drafts.answers:.2f} passes an answer, {drafts.late:,} late drafts"
    rows = [("depth", "drafted", "accepted", "share")]
    for depth, (drafted, accepted) in enumerate(
        zip(drafts.drafted_by_depth, drafts.accepted_by_depth, strict=False), start=1
    ):
        rows.append((str(depth), f"{drafted:,}", f"{accepted:,}", f"{accepted / drafted:.0%}" if drafted else "-"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join([passes, *(f"  {line}" for line in lines)])


def _duration(seconds: float) -> str:
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {int(seconds % 60)} s" if minutes else f"{int(seconds)} s"


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0; given {text!r}")
    return value
