"""`sidebeam knowledge pools`: what drafts of texts are taken from."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sidebeam.knowledge.error import KnowledgeError

if TYPE_CHECKING:
    from sidebeam.knowledge.builder import Built

SUMMARY = "make, show and change pools of earlier texts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `build`, `show` and `delete`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="build|show|delete")
    build = actions.add_parser("build", help="index texts that were generated before")
    add = build.add_argument
    add("--texts", type=Path, required=True, metavar="FILE", help='{"entity": "7", "text": "..."} per line')
    add("--groups", type=Path, default=None, metavar="FILE", help='{"7": "<group>", ...} (default: no groups)')
    add("--out", type=Path, required=True, metavar="DIR", help="where the pools go, in place of those there")
    _add_tokenizer(build)
    add("--eos", default=None, metavar="TOKEN", help="ends every text; none: nothing does (default: the model's)")
    show = actions.add_parser("show", help="check pools and say what they hold")
    show.add_argument("--pools", type=Path, required=True, metavar="DIR")
    delete = actions.add_parser("delete", help="take entities' texts out of all pools, and off the disk")
    delete.add_argument("--pools", type=Path, required=True, metavar="DIR")
    delete.add_argument("--entity", action="append", required=True, metavar="ID", help="may be given several times")


def run(args: argparse.Namespace) -> int:
    """One action on pools. Returns 0, 2 when the input was not usable, 1 when the disk failed."""
    actions = {"build": _build, "show": _show, "delete": _delete}
    try:
        return actions[args.action](args)
    except KnowledgeError as error:
        print(f"sidebeam knowledge pools: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"sidebeam knowledge pools: {where}{error.strerror or error}; nothing was changed", file=sys.stderr)
        return 1


def _add_tokenizer(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--tokenizer", type=Path, metavar="DIR", help="folder with the target's tokenizer.json")
    which.add_argument("--bundle", type=Path, metavar="DIR", help="bundle whose target will generate")


def _tokenizer_folders(args: argparse.Namespace) -> tuple[Path, Path]:
    """Of the tokenizer, and of the model that says which token ends a text."""
    if args.bundle is None:
        return args.tokenizer, args.tokenizer
    from sidebeam.bundle import Bundle, BundleError

    try:
        bundle = Bundle.open(args.bundle)
    except BundleError as error:
        raise KnowledgeError(str(error)) from None
    return bundle.tokenizer, bundle.target


def _build(args: argparse.Namespace) -> int:
    from rich.console import Console

    from sidebeam.knowledge.builder import build_pools
    from sidebeam.knowledge.tokenizer import TextTokenizer, end_token, tokenizer_fingerprint
    from sidebeam.training.progress import ProgressBar

    folder, model = _tokenizer_folders(args)
    fingerprint, tokenizer = tokenizer_fingerprint(folder), TextTokenizer.open(folder)
    eos = end_token(model)
    if args.eos is not None:
        eos = None if args.eos == "none" else tokenizer.token_id(args.eos)
        if eos is None and args.eos != "none":
            raise KnowledgeError(f"--eos: the tokenizer has no token {args.eos!r}")
    with ProgressBar(Console(stderr=True)) as bar:
        built = build_pools(args.texts, args.groups, tokenizer, args.out, bar, fingerprint=fingerprint, eos=eos)
    print(f"{args.out}: {_told(built)}")
    return 0


def _show(args: argparse.Namespace) -> int:
    from sidebeam.knowledge.folder import Manifest
    from sidebeam.knowledge.pools import Pools

    manifest = Manifest.read(args.pools)
    pools = Pools.open(args.pools, manifest.fingerprint)
    print(
        f"{args.pools}: {pools.n_texts:,} texts, {len(pools.groups)} groups, {pools.nbytes / 1e6:,.1f} MB, generation "
        f"{manifest.generation}, tokenizer {manifest.fingerprint}"
    )
    return 0


def _delete(args: argparse.Namespace) -> int:
    from sidebeam.knowledge.folder import Manifest
    from sidebeam.knowledge.pools import Pools

    with Pools.open(args.pools, Manifest.read(args.pools).fingerprint, write=True) as pools:
        unknown = [entity for entity in args.entity if pools.text(entity) is None]
        if unknown:
            raise KnowledgeError(f"--entity: {args.pools} has no text of {', '.join(map(repr, unknown))}")
        for entity in args.entity:
            pools.delete(entity)
        pools.commit()
        pools.compact()
        print(f"{args.pools}: {len(args.entity)} texts deleted, {pools.n_texts:,} left")
    return 0


def _told(built: Built) -> str:
    groups = f" and {len(built.groups):,} of groups" if built.groups else ""
    size = f"{built.nbytes / 1e6:,.1f} MB"
    parts = [f"{built.texts:,} texts of {built.tokens:,} tokens in the pool of all{groups}, {size}"]
    if built.replaced:
        parts.append(f"{built.replaced:,} replaced by later lines of the same entity")
    if built.groups and built.ungrouped:
        parts.append(f"{built.ungrouped:,} of no group")
    if built.without_text:
        parts.append(f"{built.without_text:,} entities of groups without a text")
    return "; ".join(parts)
