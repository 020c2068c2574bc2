"""The draft worker's process: `python -m sidebeam.workers.draft --bundle DIR --listen unix:/path`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc

from sidebeam.bundle import Bundle, Tokenizer, open_catalog
from sidebeam.workers.arguments import worker_parser
from sidebeam.workers.process import load, prepare, serve

if TYPE_CHECKING:
    from sidebeam.engine import DraftModel


def main(argv: Sequence[str] | None = None) -> int:
    """Load, warm up, serve. Returns 0 after SIGTERM, 1 after a failure, 2 if bundle, model or flags do not fit."""
    args = worker_parser("sidebeam.workers.draft", "Propose token trees with a bundle's draft model.").parse_args(argv)
    prepare(args)
    return _run(args)


def _run(args: argparse.Namespace) -> int:
    from sidebeam.worker.v1 import draft_pb2_grpc
    from sidebeam.workers.draft_servicer import DraftServicer

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="draft") as executor:
        draft = load(lambda: _warm_draft(args), executor)

        def register(server: grpc.aio.Server, fail: Callable[[], None]) -> None:
            servicer = DraftServicer(draft, executor)
            draft_pb2_grpc.add_DraftServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]

        return serve(args.listen, register)


def _warm_draft(args: argparse.Namespace) -> DraftModel:
    from sidebeam.engine import load_draft

    bundle = Bundle.open(args.bundle)
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
