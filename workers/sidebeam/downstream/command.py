"""`sidebeam evaluate knowledge`: what generated texts are worth to a click model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sidebeam.downstream.error import DownstreamError
from sidebeam.grouping import GroupingError, read_logs

if TYPE_CHECKING:
    from sidebeam.downstream.encoder import Encoder
    from sidebeam.downstream.features import TextFiles

SUMMARY = "judge knowledge texts by a click model with and without them, over several seeds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sidebeam evaluate knowledge`."""
    add = parser.add_argument
    add(
        "--interactions",
        type=Path,
        required=True,
        metavar="FILE",
        help='{"user", "train", "valid", "test"} per line; texts may know train, clicks are the later items',
    )
    for kind in ("user", "item"):
        add(
            f"--{kind}-texts",
            action="append",
            default=[],
            metavar="NAME=FILE",
            help=f'{{"entity", "text"}} per line about {kind}s; may be repeated, such as exact=a and relaxed=b',
        )
    add("--out", type=Path, metavar="FILE", help="write everything there as JSON, too")
    add("--encoder", type=Path, metavar="DIR", help="a transformers model that reads texts (default: hashed words)")
    add("--dim", type=int, default=256, help="of hashed words (default 256)")
    add("--seeds", type=int, default=5, metavar="N", help="trainings per arm (default 5)")
    add("--seed", type=int, default=0, help="the first one (default 0)")
    add("--history", type=int, default=10, metavar="N", help="items that the click model sees (default 10)")
    add("--negatives", type=int, default=4, metavar="N", help="unseen items per chosen one (default 4)")
    add("--epochs", type=int, default=20, help="at most (default 20)")
    add("--patience", type=int, default=3, metavar="N", help="epochs without gain that end a training (default 3)")
    add("--batch-size", type=int, default=256, help="samples per step (default 256)")
    add("--lr", type=float, default=2e-3, help="learning rate (default 0.002)")
    add("--weight-decay", type=float, default=1e-2, help="AdamW's (default 0.01)")
    add("--threads", type=int, metavar="N", help="CPU threads (default: PyTorch's choice)")


def run(args: argparse.Namespace) -> int:
    """0 once everything is reported, 2 for unusable input; nothing is written then."""
    try:
        _evaluate(args)
    except (DownstreamError, GroupingError) as error:
        print(f"sidebeam evaluate knowledge: {error}", file=sys.stderr)
        return 2
    return 0


def _evaluate(args: argparse.Namespace) -> None:
    import torch
    from rich.console import Console

    from sidebeam.downstream import report
    from sidebeam.downstream.samples import ClickLog
    from sidebeam.downstream.study import StudyPlan, check_names, run_study
    from sidebeam.downstream.trial import ClickRecipe
    from sidebeam.training.progress import ProgressBar

    plan = StudyPlan(args.seeds, args.seed, args.history, args.negatives)
    recipe = ClickRecipe(
        epochs=args.epochs,
        patience=args.patience,
        batch_size=args.batch_size,
        learning_rate=args.lr,
        weight_decay=args.weight_decay,
    )
    if args.threads is not None:
        if args.threads < 1:
            raise DownstreamError(f"--threads must be at least 1; given {args.threads}")
        torch.set_num_threads(args.threads)
    arms = _arms(args.user_texts, args.item_texts)
    check_names(arms)
    if args.out is not None:
        report.check_out(args.out)
    log = ClickLog.of(read_logs(args.interactions))
    encoder, name = _encoder(args)
    with ProgressBar(Console(stderr=True)) as bar:
        findings = run_study(log, arms, encoder, plan, recipe, bar)
    if args.out is not None:
        report.write(args.out, report.document(findings, plan, recipe, name))
    print(report.table(findings))


def _arms(users: Sequence[str], items: Sequence[str]) -> list[TextFiles]:
    """An arm per name, in the order in which names are first met."""
    from sidebeam.downstream.features import TextFiles

    sides = {"--user-texts": _named("--user-texts", users), "--item-texts": _named("--item-texts", items)}
    names = dict.fromkeys(name for files in sides.values() for name in files)
    return [TextFiles(name, sides["--user-texts"].get(name), sides["--item-texts"].get(name)) for name in names]


def _named(option: str, given: Sequence[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise DownstreamError(f"{option} must be NAME=FILE; given {text!r}")
        if name in files:
            raise DownstreamError(f"{option} must name each file once; given {name!r} twice")
        files[name] = Path(path)
    return files


def _encoder(args: argparse.Namespace) -> tuple[Encoder, str]:
    from sidebeam.downstream.encoder import TransformerEncoder
    from sidebeam.grouping.hashing import HashingEncoder

    if args.encoder is None:
        return HashingEncoder(args.dim), f"hashed words and pairs, {args.dim} dimensions"
    return TransformerEncoder(args.encoder), f"mean of last hidden states, {args.encoder}"
