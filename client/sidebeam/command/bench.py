"""`sidebeam bench`: benchmarks that print ratios from one run."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

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
    serve.add_argument("--top-k", type=int, default=10, metavar="K")
    serve.add_argument("--clients", type=int, default=16, metavar="N")
    catalog = benches.add_parser("catalog", help="the catalog alone: bytes per item, build, filter, beam step")
    catalog.add_argument("--items", type=int, default=1_000_000, metavar="N")
    catalog.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there as well")
    index = benches.add_parser("index", help="the suffix index alone: build, bytes, extend, drafts by pool size")
    index.add_argument("--tokens", type=_widths, default=[10_000, 100_000, 1_000_000, 10_000_000], metavar="N,N,...")
    index.add_argument("--drafts", type=int, default=3000, metavar="N", help="timed at each size (default 3000)")
    index.add_argument(
        "--trie-limit", type=int, default=100_000, metavar="N", help="largest pool for the dictionary trie"
    )
    index.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there as well")


def run(args: argparse.Namespace) -> int:
    """Run one benchmark; 0 when every answer was right, 1 when not, 2 for unusable input."""
    runs = {"recommend": _recommend, "serve": _serve, "catalog": _catalog, "index": _index}
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
    rows = list(bench.run(histories, others, args.top_k, _progress))
    floor = bench.prompt_pass_ms(histories)
    _progress("")
    print(report(rows, floor, len(histories), len(others), args.threads))
    _write(args.json, as_json(rows, floor, len(histories), len(others), args.threads))
    exact = args.dtype == "float32"  # narrower types round differently in differently shaped passes
    return 1 if exact and any(row.identical not in (None, 1.0) for row in rows) else 0


def _serve(args: argparse.Namespace) -> int:
    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
    from sidebeam.bundle import BundleError
    from sidebeam.command.serve_bench import measure, report
    from sidebeam.models import ModelError

    try:
        result = measure(args.bundle, _histories(args), args.top_k, args.clients, args.threads)
    except (BundleError, ModelError, OSError, ValueError) as error:
        return _refuse(error)
    print(report(result))
    _write(args.json, json.dumps(result, indent=1))
    return 0 if result["identical"] == 1.0 else 1


def _catalog(args: argparse.Namespace) -> int:
    from sidebeam.evaluation.catalog_bench import measure

    numbers = measure(args.items)
    for name, value in numbers.items():
        print(f"{name:<28} {value:>14,.3f}")
    _write(args.json, json.dumps(numbers, indent=1))
    return 0


def _index(args: argparse.Namespace) -> int:
    from sidebeam.knowledge.index_bench import as_json, measure, report

    rows = list(measure(args.tokens, args.trie_limit, args.drafts, _progress))
    _progress("")
    print(report(rows))
    _write(args.json, json.dumps(as_json(rows), indent=1))
    return 0


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


def _others(args: argparse.Namespace) -> list[list[str]]:
    from sidebeam.evaluation.recommend_bench import between, read_histories

    return between(read_histories(args.interactions, args.min_history), args.prompts, args.learn)


def _write(path: Path | None, text: str) -> None:
    if path is not None:
        path.write_text(text + "\n", encoding="utf-8")


def _refuse(error: Exception) -> int:
    print(f"sidebeam bench: {error}", file=sys.stderr)
    return 2


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def _widths(text: str) -> list[int]:
    widths = [int(part) for part in text.split(",")]
    if min(widths) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1; given {text}")
    return widths
