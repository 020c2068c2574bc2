"""`sidebeam bench`: benchmarks that print ratios from one run."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

SUMMARY = "measure speed against transformers generate, from one run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sidebeam bench`."""
    benches = parser.add_subparsers(dest="bench", required=True)
    recommend = benches.add_parser("recommend", help="recommendations in process: generate, no drafts, drafts")
    recommend.add_argument("--bundle", type=Path, required=True, metavar="DIR")
    recommend.add_argument("--interactions", type=Path, required=True, metavar="FILE")
    recommend.add_argument("--prompts", type=int, default=200, metavar="N", help="users to measure (default 200)")
    recommend.add_argument("--top-k", type=_widths, default=[1, 5, 10, 20], metavar="K,K,...")
    recommend.add_argument("--min-history", type=int, default=1, metavar="N", help="only users with that many items")
    recommend.add_argument("--threads", type=int, default=os.cpu_count() or 1, metavar="N", help="for all arms alike")
    recommend.add_argument("--device", default="cpu")
    recommend.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    recommend.add_argument("--no-generate", action="store_true", help="leave out the slowest arm")
    recommend.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as well")


def run(args: argparse.Namespace) -> int:
    """Run one benchmark; 0 when every answer was identical to generate's, 1 when not, 2 for unusable input."""
    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
    from sidebeam.bundle import Bundle, BundleError
    from sidebeam.engine import Recommender
    from sidebeam.evaluation.recommend_bench import RecommendBench, as_json, evenly, read_histories, report
    from sidebeam.models import ModelError

    try:
        histories = evenly(read_histories(args.interactions, args.min_history), args.prompts)
        if not histories:
            raise ValueError(f"{args.interactions}: no test users with {args.min_history} items of history or more")
        bundle = Bundle.open(args.bundle)
        recommender = Recommender.load(args.bundle, device=args.device, dtype=args.dtype, threads=args.threads)
    except (BundleError, ModelError, OSError, ValueError) as error:
        print(f"sidebeam bench: {error}", file=sys.stderr)
        return 2
    bench = RecommendBench(
        recommender, bundle, with_generate=not args.no_generate, device=args.device, dtype=args.dtype
    )
    rows = list(bench.run(histories, args.top_k, _progress))
    floor = bench.prompt_pass_ms(histories)
    _progress("")
    print(report(rows, floor, len(histories), args.threads))
    if args.json is not None:
        args.json.write_text(as_json(rows, floor, len(histories), args.threads))
    exact = args.dtype == "float32"  # narrower types round differently in differently shaped passes
    return 1 if exact and any(row.identical not in (None, 1.0) for row in rows) else 0


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def _widths(text: str) -> list[int]:
    widths = [int(part) for part in text.split(",")]
    if min(widths) < 1:
        raise argparse.ArgumentTypeError(f"widths must be at least 1; given {text}")
    return widths
