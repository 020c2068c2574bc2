"""The target worker's process: `python -m sidebeam.workers.target --bundle DIR --listen unix:/path`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from sidebeam.bundle import Bundle, Tokenizer, open_catalog
from sidebeam.workers.arguments import memory_plan, worker_parser
from sidebeam.workers.process import load, prepare, serve

if TYPE_CHECKING:
    from sidebeam.engine import Engine


def main(argv: Sequence[str] | None = None) -> int:
    """Load, warm up, serve. Returns 0 after SIGTERM, 1 after a failure, 2 if bundle, model or flags do not fit."""
    parser = worker_parser("sidebeam.workers.target", "Verify token trees with a bundle's target model.")
    parser.add_argument(
        "--max-memory",
        type=memory_plan,
        metavar="JSON",
        help='share per device: {"0": "20GiB", "cpu": ...}',
    )
    parser.add_argument(
        "--draft-wait-ms", type=float, default=20.0, metavar="MS", help="longest wait for a draft asked for"
    )
    args = parser.parse_args(argv)
    prepare(args)
    return _run(args)


def _run(args: argparse.Namespace) -> int:
    from sidebeam.engine import EngineRunner
    from sidebeam.worker.v1 import target_pb2_grpc
    from sidebeam.workers.target_servicer import TargetServicer

    with ExitStack() as stack:
        offload = args.max_memory and stack.enter_context(tempfile.TemporaryDirectory(prefix="sidebeam-offload-"))
        # A thread that once computed in parallel keeps its team of threads, and OpenMP's teams are fast only while
        # they are no more than the cores. So this thread loads, measures and ends; the runner's alone remains.
        with ThreadPoolExecutor(max_workers=1) as loading:
            runner = EngineRunner(load(lambda: _warm_engine(args, Path(offload) if offload else None), loading))

        def register(server: grpc.aio.Server, fail: Callable[[], None]) -> None:
            runner.start()
            servicer = TargetServicer(runner, args.draft_wait_ms / 1000, fail)
            target_pb2_grpc.add_TargetServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]

        code = serve(args.listen, register)
        runner.close()
        return code


def _warm_engine(args: argparse.Namespace, offload: Path | None) -> Engine:
    from sidebeam.engine import load_target

    bundle = Bundle.open(args.bundle)
    catalog = open_catalog(bundle, Tokenizer.open(bundle.tokenizer))
    engine = load_target(
        bundle,
        catalog,
        device=args.device,
        dtype=args.dtype,
        threads=args.threads,
        slots=args.slots,
        max_prompt_tokens=args.max_prompt_tokens,
        max_memory=args.max_memory,
        offload_folder=offload,
    )
    engine.warm_up()
    return engine


if __name__ == "__main__":
    sys.exit(main())
