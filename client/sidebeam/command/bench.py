"""`sidebeam bench`: benchmarks that print ratios from one run."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from sidebeam.page.progress_line import ProgressLine

SUMMARY = "measure speed side by side, in one run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sidebeam bench`."""
    benches = parser.add_subparsers(dest="bench", required=True)
    recommend = benches.add_parser("recommend", help="in process: transformers generate, no drafts, drafts")
    _add_data(recommend)
    recommend.add_argument("--top-k", type=_widths, default=[1, 5, 10, 20], metavar="K,K,...")
    recommend.add_argument("--device", default="cpu")
    recommend.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    recommend.add_argument(
        "--learn", type=int, default=1000, metavar="N", help="other users whom auto serves first (default 1000)"
    )
    recommend.add_argument("--no-generate", action="store_true", help="leave out the slowest arm")
    serve = benches.add_parser("serve", help="through gRPC: overhead over in process, and concurrent clients")
    _add_data(serve)
    serve.set_defaults(threads=None)  # as many as a target worker takes by itself
    serve.add_argument("--top-k", type=int, default=10, metavar="K")
    serve.add_argument("--clients", type=int, default=16, metavar="N")
    deadlines = benches.add_parser("deadlines", help="through gRPC: what short deadlines get")
    _add_data(deadlines)
    deadlines.add_argument("--top-k", type=int, default=10, metavar="K")
    deadlines.add_argument("--seed", type=int, default=0, metavar="N", help="of the deadlines (default 0)")
    _add_faults(benches.add_parser("faults", help="a sidecar is hurt under load: what its callers get, and how soon"))
    _add_overload(benches.add_parser("overload", help="three times more requests than a sidecar has room for"))
    _add_knowledge(benches.add_parser("knowledge", help="texts: by what is drafted from, and so many at once"))
    catalog = benches.add_parser("catalog", help="the catalog alone: bytes per item, build, filter, beam step")
    catalog.add_argument("--items", type=int, default=1_000_000, metavar="N")
    catalog.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there as well")
    index = benches.add_parser("index", help="the suffix index alone: build, bytes, extend, drafts by pool size")
    index.add_argument("--sizes", type=_sizes, default=_sizes("10k,100k,1m,10m"), metavar="N,N,...", help="tokens")
    index.add_argument(
        "--texts",
        default="told",
        choices=["told", "drawn"],
        help="by the demo world, or of random words (default told)",
    )
    index.add_argument("--drafts", type=int, default=3000, metavar="N", help="timed at each size (default 3000)")
    index.add_argument(
        "--trie-limit", type=_size, default=1_000_000, metavar="N", help="largest pool for the dictionary trie: 2 GB"
    )
    index.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there as well")
    index.add_argument("--html", type=Path, metavar="FILE", help="and a page with plots there")


def run(args: argparse.Namespace) -> int:
    """Run one benchmark; 0 when every answer was right, 1 when not, 2 for unusable input."""
    runs = {
        "recommend": _recommend,
        "serve": _serve,
        "deadlines": _deadlines,
        "faults": _faults,
        "overload": _overload,
        "knowledge": _knowledge,
        "catalog": _catalog,
        "index": _index,
    }
    return runs[args.bench](args)


def _recommend(args: argparse.Namespace) -> int:
    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
    from sidebeam.bundle import Bundle, BundleError
    from sidebeam.engine import Recommender
    from sidebeam.evaluation.recommend_bench import RecommendBench, as_json, report
    from sidebeam.models import ModelError

    try:
        histories, others = _histories(args), _others(args)
        bundle = Bundle.open(args.bundle)
        recommender = Recommender.load(args.bundle, device=args.device, dtype=args.dtype, threads=args.threads)
    except (BundleError, ModelError, OSError, ValueError) as error:
        return _refuse(error)
    bench = RecommendBench(
        recommender, bundle, with_generate=not args.no_generate, device=args.device, dtype=args.dtype
    )
    with ProgressLine() as progress:
        rows = list(bench.run(histories, others, args.top_k, progress))
        floor = bench.prompt_pass_ms(histories)
    print(report(rows, floor, len(histories), len(others), args.threads))
    _write(args.json, as_json(rows, floor, len(histories), len(others), args.threads))
    exact = args.dtype == "float32"  # narrower types round differently in differently shaped passes
    return 1 if exact and any(row.identical not in (None, 1.0) for row in rows) else 0


def _serve(args: argparse.Namespace) -> int:
    from sidebeam.cores import target_threads, usable_cores

    threads = args.threads or target_threads(1, usable_cores())
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    from sidebeam.bundle import BundleError
    from sidebeam.command.serve_bench import measure, report
    from sidebeam.command.sidecar import SidecarError
    from sidebeam.models import ModelError

    try:
        result = measure(args.bundle, _histories(args), args.top_k, args.clients, threads)
    except (BundleError, ModelError, SidecarError, OSError, ValueError) as error:
        return _refuse(error)
    print(report(result))
    _write(args.json, json.dumps(result, indent=1))
    return 0 if result["identical"] == 1.0 else 1


def _deadlines(args: argparse.Namespace) -> int:
    from sidebeam.command.deadline_bench import measure, report
    from sidebeam.command.sidecar import SidecarError

    try:
        result = measure(args.bundle, _histories(args), args.top_k, args.seed)
    except (SidecarError, OSError, ValueError) as error:
        return _refuse(error)
    print(report(result))
    _write(args.json, json.dumps(result, indent=1))
    return 0 if result["late"] == 0 and not result["other_errors"] else 1


def _faults(args: argparse.Namespace) -> int:
    from sidebeam.client import SidebeamError
    from sidebeam.command.sidecar import SidecarError
    from sidebeam.resilience.fault import FAULTS
    from sidebeam.resilience.fault_bench import FaultBench, Plan
    from sidebeam.resilience.fault_report import report
    from sidebeam.resilience.status_watch import NotReadyError

    plan = Plan(args.times, args.rate, args.top_k, args.deadline_s, args.retries, args.seed, _options(args))
    try:
        faults = [FAULTS[name] for name in args.faults or FAULTS]
    except KeyError as error:
        return _refuse(ValueError(f"--faults: no fault {error.args[0]!r}; there are {', '.join(FAULTS)}"))
    try:
        with ProgressLine() as progress:
            result = FaultBench(args.bundle, _users(args), plan, progress).run(faults)
    except (SidecarError, SidebeamError, NotReadyError, LookupError, OSError, ValueError) as error:
        return _refuse(error)
    print(report(result))
    _write(args.json, json.dumps(result, indent=1))
    return 0 if result["passed"] else 1


def _overload(args: argparse.Namespace) -> int:
    from sidebeam.command.sidecar import SidecarError
    from sidebeam.resilience.overload_bench import OverloadBench
    from sidebeam.resilience.overload_course import Plan
    from sidebeam.resilience.overload_report import report
    from sidebeam.resilience.status_watch import NotReadyError

    plan = Plan(args.seconds, args.requests, args.top_k, args.deadline_ms, args.seed, _options(args))
    try:
        with ProgressLine() as progress:
            result = OverloadBench(args.bundle, _users(args), plan, progress).run()
    except (SidecarError, NotReadyError, OSError, ValueError) as error:
        return _refuse(error)
    print(report(result))
    _write(args.json, json.dumps(result, indent=1))
    return 0 if result["passed"] else 1


def _options(args: argparse.Namespace) -> tuple[str, ...]:
    """For `sidebeam serve`."""
    return () if args.config is None else ("--config", str(args.config))


def _knowledge(args: argparse.Namespace) -> int:
    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
    from sidebeam.bundle import Bundle, BundleError
    from sidebeam.models import ModelError
    from sidebeam.texts import Relaxed
    from sidebeam.writing import WritingError
    from sidebeam.writing.bench_report import as_json, is_right, report
    from sidebeam.writing.bench_set import BenchSet
    from sidebeam.writing.text_bench import TextBench
    from sidebeam.writing.writer import Writer

    try:
        files = _knowledge_files(args)
        rule = Relaxed(args.k, args.p)
        bundle = Bundle.open(args.bundle)
        sets = [BenchSet.open(bundle, *paths, args.measure, args.served) for paths in files]
        writer = Writer.load(
            bundle, device=args.device, dtype=args.dtype, threads=args.threads, slots=max(args.at_once)
        )
        bench = TextBench(bundle, writer, rule, args.seed)
        with ProgressLine() as progress:
            rows = list(bench.run(sets, args.at_once, progress))
        check = bench.check(sets, args.check, args.device, args.dtype)
    except (BundleError, ModelError, WritingError, OSError, ValueError) as error:
        return _refuse(error)
    print(report(rows, check, args.threads))
    _write(args.json, json.dumps(as_json(rows, check, args.threads), indent=1))
    return 1 if args.dtype == "float32" and not is_right(rows, check) else 0


def _knowledge_files(args: argparse.Namespace) -> list[tuple[Path, Path, Path | None]]:
    """Prompts, texts and groups of each set, as they were named one after the other."""
    groups: list[Path | None] = args.groups or [None] * len(args.prompts)
    for option, given in (("--texts", args.texts), ("--groups", groups)):
        if len(given) != len(args.prompts):
            raise ValueError(f"{option} must be given once for each --prompts, {len(args.prompts)} times; {len(given)}")
    return list(zip(args.prompts, args.texts, groups, strict=True))


def _catalog(args: argparse.Namespace) -> int:
    from sidebeam.evaluation.catalog_bench import measure

    numbers = measure(args.items)
    for name, value in numbers.items():
        print(f"{name:<28} {value:>14,.3f}")
    _write(args.json, json.dumps(numbers, indent=1))
    return 0


def _index(args: argparse.Namespace) -> int:
    from sidebeam.folklore.told_texts import ToldTexts
    from sidebeam.knowledge.bench_texts import TextSource
    from sidebeam.knowledge.index_bench import Source, as_json, measure, report
    from sidebeam.report.index_page import page

    source: Source = ToldTexts() if args.texts == "told" else TextSource()
    with ProgressLine() as progress:
        rows = list(measure(source, args.sizes, args.trie_limit, args.drafts, progress))
    print(report(rows))
    _write(args.json, json.dumps(as_json(rows), indent=1))
    _write(args.html, page(rows, args.texts))
    return 0


def _add_knowledge(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--bundle", type=Path, required=True, metavar="DIR", help="whose target writes")
    add("--prompts", type=Path, required=True, action="append", metavar="FILE", help="one set; may be given again")
    add("--texts", type=Path, required=True, action="append", metavar="FILE", help="earlier ones, for each --prompts")
    add("--groups", type=Path, action="append", metavar="FILE", help="for each --prompts (default: no groups)")
    add("--measure", type=_one_up, default=96, metavar="N", help="prompts of each set (default 96)")
    add("--served", type=_one_up, default=32, metavar="N", help="others that every arm writes for first (default 32)")
    add("--at-once", type=_widths, default=[1, 4, 16], metavar="N,N,...", help="texts in flight (default 1,4,16)")
    add("--k", type=int, default=2, help="of relaxed texts (default 2)")
    add("--p", type=float, default=0.1, help="of relaxed texts (default 0.1)")
    add("--check", type=_one_up, default=8, metavar="N", help="texts of each set beside generate's (default 8)")
    add("--seed", type=int, default=0, metavar="N", help="of the order of arms (default 0)")
    add("--threads", type=_one_up, default=os.cpu_count() or 1, metavar="N", help="for all arms alike")
    add("--device", default="cpu")
    add("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    add("--json", type=Path, metavar="FILE", help="write the numbers there as well")


def _add_faults(parser: argparse.ArgumentParser) -> None:
    _add_sidecar(parser)
    add = parser.add_argument
    add("--times", type=_one_up, default=20, metavar="N", help="how often each fault is done (default 20)")
    add("--rate", type=_positive, default=20.0, metavar="N", help="requests a second (default 20)")
    add("--faults", type=lambda text: text.split(","), metavar="NAME,...", help="only these (default: all)")
    add("--deadline-s", type=_positive, default=5.0, metavar="S", help="of each request (default 5)")
    add("--retries", type=int, default=2, metavar="N", help="by the client library; 0: none (default 2)")
    add("--seed", type=int, default=0, metavar="N", help="of arrivals, requests and moments (default 0)")


def _add_overload(parser: argparse.ArgumentParser) -> None:
    _add_sidecar(parser)
    add = parser.add_argument
    add("--seconds", type=_positive, default=60.0, metavar="S", help="that the overload lasts (default 60)")
    add("--requests", type=_one_up, default=10_000, metavar="N", help="in all, for memory to grow (default 10000)")
    add("--deadline-ms", type=_positive, metavar="MS", help="of each request; default: ten lone answers' time")
    add("--seed", type=int, default=0, metavar="N", help="of arrivals and requests (default 0)")


def _add_sidecar(parser: argparse.ArgumentParser) -> None:
    """Whom a sidecar of the bench's own is asked about, and how it is set up."""
    add = parser.add_argument
    add("--bundle", type=Path, required=True, metavar="DIR")
    add("--interactions", type=Path, required=True, metavar="FILE")
    add("--prompts", type=_one_up, default=200, metavar="N", help="users to ask about (default 200)")
    add("--min-history", type=int, default=1, metavar="N", help="only users with that many items")
    add("--top-k", type=_one_up, default=10, metavar="K")
    add("--config", type=Path, metavar="FILE", help="the sidecar's settings, as sidebeam serve takes them")
    add("--json", type=Path, metavar="FILE", help="write the numbers there as well")


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR")
    parser.add_argument("--interactions", type=Path, required=True, metavar="FILE")
    parser.add_argument("--prompts", type=int, default=200, metavar="N", help="users to measure (default 200)")
    parser.add_argument("--min-history", type=int, default=1, metavar="N", help="only users with that many items")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, metavar="N", help="for all arms alike")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there as well")


def _histories(args: argparse.Namespace) -> list[list[str]]:
    from sidebeam.evaluation.recommend_bench import evenly, read_histories

    histories = evenly(read_histories(args.interactions, args.min_history), args.prompts)
    if not histories:
        raise ValueError(f"{args.interactions}: no test users with {args.min_history} items of history or more")
    return histories


def _users(args: argparse.Namespace) -> list[tuple[str, ...]]:
    """Histories as `_histories` has them, read without what only workers need."""
    from sidebeam.load.error import LoadError
    from sidebeam.load.interactions import read_histories

    try:
        histories = [each for each in read_histories(args.interactions) if len(each) >= args.min_history]
    except LoadError as error:
        raise ValueError(str(error)) from None
    if not histories:
        raise ValueError(f"{args.interactions}: no users with {args.min_history} items of history or more")
    step = max(1, len(histories) // args.prompts)
    return histories[::step][: args.prompts]


def _others(args: argparse.Namespace) -> list[list[str]]:
    from sidebeam.evaluation.recommend_bench import between, read_histories

    return between(read_histories(args.interactions, args.min_history), args.prompts, args.learn)


def _write(path: Path | None, text: str) -> None:
    if path is not None:
        path.write_text(text + "\n", encoding="utf-8")


def _refuse(error: Exception) -> int:
    print(f"sidebeam bench: {error}", file=sys.stderr)
    return 2


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0; given {text}")
    return number


def _one_up(text: str) -> int:
    return _widths(text)[0]


def _sizes(text: str) -> list[int]:
    """From `10k,1m`."""
    return [_size(part) for part in text.split(",")]


def _size(text: str) -> int:
    factor = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower(), 1)
    return _one_up(text if factor == 1 else text[:-1]) * factor


def _widths(text: str) -> list[int]:
    widths = [int(part) for part in text.split(",")]
    if min(widths) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1; given {text}")
    return widths
