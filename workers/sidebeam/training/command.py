"""`sidebeam train`: a target or a draft from items and interactions."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Literal

from sidebeam.training.error import TrainingError

SUMMARY = "train a target or a draft model on user histories"

Part = Literal["target", "draft"]
SIZES: dict[Part, tuple[int, int, int]] = {"target": (6, 384, 6), "draft": (1, 96, 4)}  # layers, hidden, heads
DISTILLED = 0.8  # a draft is good when it agrees with its target; the rest keeps it honest about the data


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `target` and `draft` with their options."""
    parts = parser.add_subparsers(dest="part", required=True, metavar="target|draft")
    target = parts.add_parser("target", help="train a target and make --out a bundle")
    _add_options(target, "target")
    target.add_argument("--max-history", type=int, default=20, help="items of history in a prompt (default: 20)")
    draft = parts.add_parser("draft", help="train a draft for the target in --out")
    _add_options(draft, "draft")
    draft.add_argument(
        "--distill",
        type=float,
        default=DISTILLED,
        metavar="SHARE",
        help=f"share of the loss that follows the target's distributions, 0 to 1 (default: {DISTILLED})",
    )


def run(args: argparse.Namespace) -> int:
    """Trains. Returns 0, or 2 when the input was not usable; Ctrl-C raises `KeyboardInterrupt`, the state kept."""
    try:
        _train(args)
    except TrainingError as error:
        print(f"sidebeam train {args.part}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command with --resume continues from the last state kept", file=sys.stderr)
        raise
    return 0


def _add_options(parser: argparse.ArgumentParser, part: Part) -> None:
    layers, hidden, heads = SIZES[part]
    add = parser.add_argument
    add("--items", type=Path, required=True, metavar="FILE", help='{"<item id>": ["<a_47>", "<b_103>", ...], ...}')
    add("--interactions", type=Path, required=True, metavar="FILE", help='{"user", "train", "valid", "test"} per line')
    add("--out", type=Path, required=True, metavar="DIR", help="the bundle")
    add("--layers", type=int, default=layers, help=f"transformer layers (default: {layers})")
    add("--hidden", type=int, default=hidden, help=f"width (default: {hidden})")
    add("--heads", type=int, default=heads, help=f"attention heads (default: {heads})")
    add("--epochs", type=int, default=10, help="passes over the data (default: 10)")
    add("--max-steps", type=int, default=None, help="stop after so many steps (default: all epochs)")
    add("--batch-size", type=int, default=64, help="user histories per step and process (default: 64)")
    add("--lr", type=float, default=1e-3, help="highest learning rate (default: 0.001)")
    add("--weight-decay", type=float, default=0.1, help="AdamW's weight decay (default: 0.1)")
    add("--seed", type=int, default=0, help="of weights and order (default: 0)")
    add("--threads", type=int, default=None, help="CPU threads (default: PyTorch's choice)")
    add("--device", choices=("auto", "cpu"), default="auto", help="auto takes an accelerator where there is one")
    add("--precision", choices=("no", "bf16"), default="no", help="mixed precision (default: no)")
    add("--resume", action="store_true", help="continue an interrupted training with the same options")
    add("--overwrite", action="store_true", help="replace the model that --out already has")


def _train(args: argparse.Namespace) -> None:
    import torch
    from accelerate import PartialState
    from rich.console import Console
    from transformers.utils import logging

    from sidebeam.training.job import Job
    from sidebeam.training.progress import ProgressBar
    from sidebeam.training.recipe import Recipe
    from sidebeam.training.shape import Shape

    logging.disable_progress_bar()
    if args.threads is not None:
        if args.threads < 1:
            raise TrainingError(f"--threads must be at least 1. Given: {args.threads}")
        torch.set_num_threads(args.threads)
    job = Job(
        items=args.items,
        interactions=args.interactions,
        out=args.out,
        shape=Shape(args.layers, args.hidden, args.heads),
        recipe=Recipe(
            epochs=args.epochs,
            max_steps=args.max_steps,
            batch_size=args.batch_size,
            learning_rate=args.lr,
            weight_decay=args.weight_decay,
            seed=args.seed,
            distill=getattr(args, "distill", 0.0),
        ),
        max_history=getattr(args, "max_history", 20),
        device=args.device,
        precision=args.precision,
        resume=args.resume,
        overwrite=args.overwrite,
    )
    leads = PartialState(cpu=args.device == "cpu").is_main_process  # of the processes of `accelerate launch`
    with ProgressBar(Console(stderr=True, quiet=not leads)) as bar:
        outcome = job.train_target(bar) if args.part == "target" else job.train_draft(bar)
    if leads:
        loss = "" if outcome.valid_loss is None else f", best validation loss {outcome.valid_loss:.4f} nats per token"
        print(f"{args.out / args.part}: {outcome.steps} steps{loss}")
