"""`sidebeam knowledge groups`: which users or items share a knowledge pool."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sidebeam.grouping.attribute_groups import LARGEST, SMALLEST
from sidebeam.grouping.error import GroupingError
from sidebeam.grouping.router import THRESHOLD

SUMMARY = "group users or items, so that their knowledge is drafted from texts of their like"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sidebeam knowledge groups`."""
    add = parser.add_argument
    add("--interactions", type=Path, required=True, metavar="FILE", help='{"user", "train", "valid", "test"} per line')
    add("--of", required=True, choices=("users", "items"), help="what is grouped")
    add("--groups", type=int, required=True, metavar="N", help="collaborative groups; 0: attribute groups alone")
    add("--out", type=Path, required=True, metavar="FILE", help='{"<entity>": "<group>"}; provenance goes beside it')
    add("--attributes", type=Path, metavar="FILE", help='{"entity": id, "<attribute>": value, ...} per line')
    add("--embeddings", type=Path, metavar="FILE", help=".npz, .npy or .safetensors (default: trained, LightGCN)")
    add("--texts", type=Path, metavar="FILE", help='{"entity", "text"} per line: group by how alike old texts are')
    add(
        "--threshold",
        type=int,
        default=THRESHOLD,
        metavar="N",
        help=f"interactions below which attributes decide ({THRESHOLD})",
    )
    add("--by", type=_names, default=(), metavar="A,A,...", help="attributes, the coarsest first (default: chosen)")
    add("--largest", type=int, default=LARGEST, metavar="N", help=f"attribute groups above are split ({LARGEST})")
    add("--smallest", type=int, default=SMALLEST, metavar="N", help=f"rarer values join the rest (default {SMALLEST})")
    add("--dim", type=int, default=32, help="of trained embeddings (default 32)")
    add("--layers", type=int, default=3, help="of LightGCN (default 3)")
    add("--lr", type=float, default=5e-3, help="of LightGCN (default 0.005)")
    add("--epochs", type=int, default=100, help="of LightGCN, at most (default 100)")
    add("--patience", type=int, default=5, metavar="N", help="epochs without gain that end it (default 5)")
    add("--save-embeddings", type=Path, metavar="FILE.npz", help="write the vectors there as well")
    add("--seed", type=int, default=0, help="of training and of K-means (default 0)")
    add("--threads", type=int, metavar="N", help="CPU threads (default: PyTorch's choice)")


def run(args: argparse.Namespace) -> int:
    """0 once the file is written, 2 for unusable input; no file is written then."""
    try:
        _group(args)
    except GroupingError as error:
        print(f"sidebeam knowledge groups: {error}", file=sys.stderr)
        return 2
    return 0


def _group(args: argparse.Namespace) -> None:
    import torch
    from rich.console import Console

    from sidebeam.grouping.attribute_groups import AttributeSplit
    from sidebeam.grouping.job import GroupingJob, told
    from sidebeam.grouping.light_gcn import LightGcnRecipe
    from sidebeam.training.progress import ProgressBar

    if args.threads is not None:
        if args.threads < 1:
            raise GroupingError(f"--threads must be at least 1; given {args.threads}")
        torch.set_num_threads(args.threads)
    job = GroupingJob(
        interactions=args.interactions,
        out=args.out,
        of=args.of,
        groups=args.groups,
        attributes=args.attributes,
        embeddings=args.embeddings,
        texts=args.texts,
        save_embeddings=args.save_embeddings,
        threshold=args.threshold,
        split=AttributeSplit(args.by, args.largest, args.smallest),
        recipe=LightGcnRecipe(
            dim=args.dim,
            layers=args.layers,
            learning_rate=args.lr,
            epochs=args.epochs,
            patience=args.patience,
            seed=args.seed,
        ),
        seed=args.seed,
    )
    with ProgressBar(Console(stderr=True)) as bar:
        groups = job.run(bar)
    print(told(job, groups))


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"must be names with commas between; given {text!r}")
    return names
