"""The draft worker's process: `python -m sidebeam.workers.draft --bundle DIR --listen unix:/path`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc

from sidebeam.bundle import Bundle, BundleError, Tokenizer, open_catalog
from sidebeam.catalog import Catalog
from sidebeam.workers.arguments import opened_bundle, worker_parser
from sidebeam.workers.process import Drain, load, prepare, serve, traced

if TYPE_CHECKING:
    from sidebeam.engine import DraftModel
    from sidebeam.workers.pool_keeper import PoolKeeper


def main(argv: Sequence[str] | None = None) -> int:
    """Load, warm up, serve. Returns 0 after SIGTERM, 1 after a failure, 2 if bundle, model or flags do not fit."""
    summary = "Propose token trees with a bundle's draft model, and keep its pools of texts."
    args = worker_parser("sidebeam.workers.draft", summary).parse_args(argv)
    prepare(args)
    return _run(args)


def _run(args: argparse.Namespace) -> int:
    from sidebeam.worker.v1 import draft_pb2_grpc
    from sidebeam.workers.catalog_shelf import CatalogShelf
    from sidebeam.workers.draft_servicer import DraftServicer
    from sidebeam.workers.identity import Identity
    from sidebeam.workers.work_log import WorkLog

    with traced(args) as tracing, ThreadPoolExecutor(max_workers=1, thread_name_prefix="draft") as executor:
        bundle, draft, keeper = load(lambda: _parts(args), executor)
        tasks = set()

        async def hold(catalog: Catalog) -> DraftModel:
            assert draft is not None
            return await asyncio.get_running_loop().run_in_executor(executor, draft.on, catalog)

        def register(server: grpc.aio.Server, fail: Callable[[], None]) -> Drain | None:
            if keeper is not None:
                tasks.add(asyncio.create_task(keeper.run()))
            shelf = None if draft is None else CatalogShelf(bundle, draft.catalog, draft, hold)
            servicer = DraftServicer(draft, shelf, executor, keeper, Identity.on(args.device), WorkLog(tracing))
            draft_pb2_grpc.add_DraftServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
            return None

        code = serve(args, register)
        if keeper is not None:
            keeper.close()
        return code


def _parts(args: argparse.Namespace) -> tuple[Bundle, DraftModel | None, PoolKeeper | None]:
    """The bundle, and what it has for this worker: a draft model, pools, or both."""
    bundle = opened_bundle(args)
    keeper = _keeper(bundle, args)
    drafts = bundle.draft is not None and bundle.items is not None
    if keeper is None and not drafts:
        raise BundleError(bundle.root, ["it has neither a [draft] for its [catalog] nor pools for its [texts]"])
    return bundle, _warm_draft(bundle, args) if drafts else None, keeper


def _keeper(bundle: Bundle, args: argparse.Namespace) -> PoolKeeper | None:
    from sidebeam.knowledge.tokenizer import end_token, tokenizer_fingerprint
    from sidebeam.knowledge.warm_up import warm_up
    from sidebeam.workers.pool_keeper import PoolKeeper

    folder = None if bundle.texts is None else args.pools or bundle.texts.pools
    if folder is None:
        return None
    warm_up()
    return PoolKeeper(folder, tokenizer_fingerprint(bundle.tokenizer), end_token(bundle.target))


def _warm_draft(bundle: Bundle, args: argparse.Namespace) -> DraftModel:
    from sidebeam.engine import load_draft

    catalog = open_catalog(bundle, Tokenizer.open(bundle.tokenizer))
    draft = load_draft(
        bundle,
        catalog,
        device=args.device,
        dtype=args.dtype,
        threads=args.threads,
        slots=args.slots,
        max_prompt_tokens=args.max_prompt_tokens,
    )
    draft.warm_up()
    return draft


if __name__ == "__main__":
    sys.exit(main())
