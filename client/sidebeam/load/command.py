"""`sidebeam load`: load-test a running sidecar."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console

from sidebeam.command import connection
from sidebeam.load import histogram
from sidebeam.load.arrivals import KINDS
from sidebeam.load.document import document
from sidebeam.load.error import LoadError, Unanswered
from sidebeam.load.interactions import read_histories
from sidebeam.load.mix import Entry, Mix, read_entries
from sidebeam.load.options import Options
from sidebeam.load.page import page
from sidebeam.load.progress import Progress
from sidebeam.load.report import Report
from sidebeam.load.run import run as run_load
from sidebeam.load.summary import EVENTS
from sidebeam.load.table import show
from sidebeam.page.folder import FolderError, ReportFolder
from sidebeam.v1 import recommendation_pb2 as pb

SUMMARY = "Load-test a running sidecar: latency, goodput and errors at given rates."

PLAIN_WIDTH = 120  # columns, where the output is no terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "A line of --mix: "
        '{"weight": 9, "name": "shelf", "request": {"history": {"item_ids": ["12", "55"]}, "top_k": 10}}\n'
        "where request is a sidebeam.v1.RecommendRequest as JSON; without a history it gets one of --interactions.\n\n"
        "exit codes: 0 measured; 1 a --fail-if rule is broken, or nothing answers; 2 bad usage; 130 interrupted,\n"
        "with the report of what was measured"
    )
    connection.add_arguments(parser)
    asked = parser.add_argument_group("what is asked")
    asked.add_argument("--mix", type=Path, metavar="FILE", help="requests with weights, one JSON object a line")
    asked.add_argument("--interactions", type=Path, metavar="FILE", help='histories: {"train": [..], "valid": [..]}')
    asked.add_argument("--top-k", type=int, metavar="K", help="items of an answer; default: the bundle's")
    asked.add_argument("--final-only", action="store_true", help="ask for the answer without the events before it")
    load = parser.add_argument_group("how much")
    how = load.add_mutually_exclusive_group(required=True)
    how.add_argument("--rate", type=float, metavar="R", help="open loop: requests a second, whatever the answers do")
    how.add_argument("--sweep", metavar="R,R,...", help="open loops at ascending rates, one after the other")
    how.add_argument("--concurrency", type=int, metavar="N", help="closed loop: so many at a time, each after the last")
    load.add_argument("--arrivals", choices=KINDS, help="of an open loop; default: poisson")
    load.add_argument("--duration-s", type=float, default=30.0, metavar="S", help="of each rate; default: %(default)s")
    load.add_argument("--warm-up-s", type=float, default=5.0, metavar="S", help="before it; default: %(default)s")
    load.add_argument(
        "--max-in-flight", type=int, default=1000, metavar="N", help="arrivals beyond are missed; %(default)s"
    )
    load.add_argument("--seed", type=int, default=0, metavar="N", help="of arrivals and requests; default: %(default)s")
    calls = parser.add_argument_group("calls")
    calls.add_argument("--timeout-ms", type=float, default=2000.0, metavar="MS", help="deadline; default: %(default)s")
    calls.add_argument("--connections", type=int, default=1, metavar="N", help="used in turn; default: %(default)s")
    calls.add_argument("--metadata", action="append", default=[], metavar="KEY=VALUE", help="may be repeated")
    judged = parser.add_argument_group("what becomes of it")
    judged.add_argument("--slo-ms", type=float, metavar="MS", help="answers within it are goodput")
    judged.add_argument("--fail-if", action="append", default=[], metavar="RULE", help="'p99_ms>80'; may be repeated")
    judged.add_argument("--report", type=Path, metavar="DIR", help="load.html, load.json and HdrHistogram files")


def run(args: argparse.Namespace) -> int:
    """Measure, show and write it. Returns the exit code; see the epilog of the help."""
    try:
        options = Options.read(args)
        mix = _mix(options)
        folder = ReportFolder(options.report, _file_names(options)) if options.report is not None else None
        with folder if folder is not None else nullcontext():
            progress = Progress(Console(stderr=True), len(options.steps))
            report = asyncio.run(run_load(options, mix, progress))
            if report is None:
                print("sidebeam load: interrupted before anything was measured", file=sys.stderr)
                return 130
            wide = None if sys.stdout.isatty() else PLAIN_WIDTH
            show(report, Console(highlight=False, width=wide))
            if folder is not None:
                folder.write(_texts(report))
                print(f"{args.report / 'load.html'} says more; load.json is for scripts")
        return _exit_code(report)
    except (LoadError, FolderError) as error:
        print(f"sidebeam load: {error}", file=sys.stderr)
        return 2
    except Unanswered as error:
        print(f"sidebeam load: {error}", file=sys.stderr)
        return 1


def _exit_code(report: Report) -> int:
    if report.interrupted:
        return 130
    nothing = not any(summary.answered for summary in report.summaries)
    return 1 if report.failed or nothing else 0


def _mix(options: Options) -> Mix:
    histories = read_histories(options.interactions) if options.interactions is not None else []
    if options.mix is not None:
        return Mix(read_entries(options.mix), histories)
    request = pb.RecommendRequest(top_k=options.top_k, final_only=options.final_only)
    return Mix([Entry(f"--interactions {options.interactions}", "", 1.0, request)], histories)


def _file_names(options: Options) -> list[str]:
    tags = [histogram.tag(plan, event) for plan in options.steps for event in EVENTS]
    return ["load.html", "load.json", histogram.LOG_NAME, *(f"{tag}.hgrm" for tag in tags)]


def _texts(report: Report) -> dict[str, str]:
    texts = {
        "load.html": page(report),
        "load.json": document(report),
        histogram.LOG_NAME: histogram.log_text(report.began, report.summaries),
    }
    for summary in report.summaries:
        for event, durations in summary.latency.items():
            if len(durations):
                texts[f"{histogram.tag(summary.plan, event)}.hgrm"] = histogram.percentile_text(durations)
    return texts
