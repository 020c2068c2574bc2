"""The target worker's process: `python -m sidebeam.workers.target --bundle DIR --listen unix:/path`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from sidebeam.catalog import Catalog
from sidebeam.workers.arguments import memory_plan, opened_bundle, worker_parser
from sidebeam.workers.process import Drain, load, prepare, serve, traced

if TYPE_CHECKING:
    from sidebeam.workers.target_model import TargetModel
    from sidebeam.workers.text_desk import TextDesk


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
    from sidebeam.engine import EngineRunner, Holding
    from sidebeam.search import SearchResult
    from sidebeam.texts import TextResult
    from sidebeam.worker.v1 import target_pb2_grpc
    from sidebeam.workers.catalog_shelf import CatalogShelf
    from sidebeam.workers.identity import Identity
    from sidebeam.workers.search_lines import SearchLines, listen
    from sidebeam.workers.target_servicer import TargetServicer
    from sidebeam.workers.work_log import WorkLog

    with ExitStack() as stack:
        tracing = stack.enter_context(traced(args))
        offload = args.max_memory and stack.enter_context(tempfile.TemporaryDirectory(prefix="sidebeam-offload-"))
        # A thread that once computed in parallel keeps its team of threads, and OpenMP's teams are fast only while
        # they are no more than the cores. So this thread loads, measures and ends; the runner's alone remains.
        with ThreadPoolExecutor(max_workers=1) as loading:
            model, desk = load(lambda: _warm_model(args, Path(offload) if offload else None), loading)
        runner = EngineRunner(model.engine, (SearchResult, TextResult))
        tasks: set[asyncio.Task[None]] = set()

        async def hold(catalog: Catalog) -> Holding:
            assert model.searches is not None
            holding = await asyncio.to_thread(model.searches.prepare, catalog)
            await runner.between_passes(partial(model.searches.hold, holding))
            return holding

        def register(server: grpc.aio.Server, fail: Callable[[], None]) -> Drain | None:
            runner.start()
            if desk is not None and desk.shelf is not None:
                tasks.add(asyncio.create_task(desk.shelf.watch()))
            identity, log = Identity.on(args.device), WorkLog(tracing)
            shelf = None
            if model.searches is not None:
                shelf = CatalogShelf(model.bundle, model.searches.catalog, model.searches.holding, hold)
            listener, wait_s = listen(args.listen), args.draft_wait_ms / 1000
            takes_lines = listener is not None
            servicer = TargetServicer(runner, model, shelf, desk, wait_s, fail, identity, log, takes_lines=takes_lines)
            target_pb2_grpc.add_TargetServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
            if listener is None:
                return None
            lines = SearchLines(listener, servicer.Search)
            tasks.add(asyncio.create_task(lines.run()))
            return lines.drain

        code = serve(args, register)
        runner.close()
        return code


def _warm_model(args: argparse.Namespace, offload: Path | None) -> tuple[TargetModel, TextDesk | None]:
    from sidebeam.knowledge.tokenizer import tokenizer_fingerprint
    from sidebeam.knowledge.warm_up import warm_up
    from sidebeam.workers.pool_shelf import PoolShelf
    from sidebeam.workers.target_model import TargetModel
    from sidebeam.workers.text_desk import TextDesk

    bundle = opened_bundle(args)
    model = TargetModel.load(
        bundle,
        device=args.device,
        dtype=args.dtype,
        threads=args.threads,
        slots=args.slots,
        max_prompt_tokens=args.max_prompt_tokens,
        max_memory=args.max_memory,
        offload_folder=offload,
    )
    if model.writer is None or bundle.texts is None:
        return model, None
    fingerprint = tokenizer_fingerprint(bundle.tokenizer)
    folder = args.pools or bundle.texts.pools
    if folder is None:
        return model, TextDesk(model.writer, None, fingerprint)
    warm_up()
    shelf = PoolShelf(folder, fingerprint)
    shelf.look()
    return model, TextDesk(model.writer, shelf, fingerprint)


if __name__ == "__main__":
    sys.exit(main())
