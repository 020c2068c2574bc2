"""`sidebeam train target`, and what the other parts of `sidebeam train` share with it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sidebeam.training.error import TrainingError
from sidebeam.training.plan import ALPHA_PER_RANK, LORA_DROPOUT, Lora, Plan

if TYPE_CHECKING:
    from sidebeam.training.job import Job
    from sidebeam.training.progress import ProgressBar
    from sidebeam.training.trainer import Outcome

Part = Literal["target", "draft"]
Train = Callable[["Job", "ProgressBar"], "Outcome"]
SIZE_OPTIONS = ("layers", "hidden", "heads")
SIZES: dict[Part, tuple[int, int, int]] = {"target": (6, 384, 6), "draft": (1, 96, 4)}


def add_target(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `sidebeam train target`."""
    add_options(parser, "target")
    add = parser.add_argument
    add("--max-history", type=int, default=20, help="items of history in a prompt (default: 20)")
    add(
        "--template", default="{history}", metavar="TEXT", help="with {history} in it, or 'instruction' (default: bare)"
    )
    add("--separator", default=None, metavar="TEXT", help="between items (default: the named template's, else nothing)")
    add("--loss-on", choices=("response", "all"), default="response", help="labels: SIDs asked for, or every token")
    add("--label-smoothing", type=float, default=0.0, metavar="SHARE", help="of each label (default: 0)")
    add("--dropout", type=float, default=0.0, metavar="SHARE", help="in attention and residual branches (default: 0)")
    add("--shuffle", type=float, default=0.0, metavar="SHARE", help="of histories, in a random order (default: 0)")
    add("--base", type=Path, default=None, metavar="DIR", help="start from this causal LM instead of a fresh one")
    add("--lora", type=int, default=None, metavar="RANK", help="train adapters and SID rows only, merged at the end")
    add("--lora-alpha", type=int, default=None, metavar="A", help="updates count A / RANK (default: twice the rank)")
    add("--lora-dropout", type=float, default=None, metavar="SHARE", help="before adapters (default: 0.05)")


def run_target(args: argparse.Namespace) -> int:
    """Trains a target; see `run`."""

    def train(job: Job, bar: ProgressBar) -> Outcome:
        from sidebeam.training.template import prompt_format

        prompt = prompt_format(args.template, args.separator, args.max_history)
        asked = replace(job, template=prompt.template, separator=prompt.item_separator)
        return asked.train_target(bar, _plan(args))

    return run(args, train)


def _plan(args: argparse.Namespace) -> Plan:
    if args.base is not None:
        for name in SIZE_OPTIONS:
            if (value := getattr(args, name)) is not None:
                raise TrainingError(f"--{name} is for a fresh model; --base brings its own. Given: {value}")
    for name in ("lora_alpha", "lora_dropout"):
        if args.lora is None and (value := getattr(args, name)) is not None:
            raise TrainingError(f"--{name.replace('_', '-')} needs --lora. Given: {value}")
    lora = None
    if args.lora is not None:
        alpha = ALPHA_PER_RANK * args.lora if args.lora_alpha is None else args.lora_alpha
        lora = Lora(args.lora, alpha, LORA_DROPOUT if args.lora_dropout is None else args.lora_dropout)
    return Plan(args.base, lora, args.dropout, args.label_smoothing, args.loss_on, args.shuffle)


def run(args: argparse.Namespace, train: Train) -> int:
    """Trains. Returns 0, or 2 when the input was not usable; Ctrl-C raises `KeyboardInterrupt`, the state kept."""
    try:
        _train(args, train)
    except TrainingError as error:
        if os.environ.get("RANK", "0") == "0":  # one of the processes of a launcher
            print(f"sidebeam train {args.part}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command with --resume continues from the last state kept", file=sys.stderr)
        raise
    return 0


def add_options(parser: argparse.ArgumentParser, part: Part) -> None:
    """Adds the options that the trainings of a target and of a draft share."""
    layers, hidden, heads = SIZES[part]
    add = parser.add_argument
    add("--items", type=Path, required=True, metavar="FILE", help='{"<item id>": ["<a_47>", "<b_103>", ...], ...}')
    add("--interactions", type=Path, required=True, metavar="FILE", help='{"user", "train", "valid", "test"} per line')
    add("--out", type=Path, required=True, metavar="DIR", help="the bundle")
    add("--layers", type=int, default=None, help=f"transformer layers (default: {layers})")
    add("--hidden", type=int, default=None, help=f"width (default: {hidden})")
    add("--heads", type=int, default=None, help=f"attention heads (default: {heads})")
    add("--epochs", type=int, default=10, help="passes over the data (default: 10)")
    add("--max-steps", type=int, default=None, help="stop after so many steps (default: all epochs)")
    add("--batch-size", type=int, default=64, help="samples per batch and process (default: 64)")
    add("--accumulate", type=int, default=1, metavar="N", help="batches per step (default: 1)")
    add("--patience", type=int, default=5, metavar="N", help="stop after N epochs without gain; 0: never (default: 5)")
    add("--lr", type=float, default=1e-3, help="highest learning rate (default: 0.001)")
    add("--weight-decay", type=float, default=0.1, help="AdamW's weight decay (default: 0.1)")
    add("--seed", type=int, default=0, help="of weights and order (default: 0)")
    add("--threads", type=int, default=None, help="CPU threads (default: PyTorch's choice)")
    add("--device", choices=("auto", "cpu"), default="auto", help="auto takes an accelerator where there is one")
    add("--precision", choices=("no", "bf16", "fp16"), default="no", help="mixed precision (default: no)")
    add("--resume", action="store_true", help="continue an interrupted training with the same options")
    add("--overwrite", action="store_true", help="replace the model that --out already has")


def _sizes(args: argparse.Namespace) -> list[int]:
    part: Part = args.part
    given = (getattr(args, name) for name in SIZE_OPTIONS)
    return [usual if size is None else size for usual, size in zip(SIZES[part], given, strict=True)]


def _train(args: argparse.Namespace, train: Train) -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # what it needs is local, or missing
    import torch
    from accelerate import PartialState
    from rich.console import Console
    from transformers.utils import logging

    from sidebeam.training.job import Job
    from sidebeam.training.progress import ProgressBar
    from sidebeam.training.recipe import Recipe
    from sidebeam.training.shape import Shape

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    if args.threads is not None:
        if args.threads < 1:
            raise TrainingError(f"--threads must be at least 1. Given: {args.threads}")
        torch.set_num_threads(args.threads)
    job = Job(
        items=args.items,
        interactions=args.interactions,
        out=args.out,
        shape=Shape(*_sizes(args)),
        recipe=Recipe(
            epochs=args.epochs,
            max_steps=args.max_steps,
            batch_size=args.batch_size,
            accumulate=args.accumulate,
            patience=args.patience,
            learning_rate=args.lr,
            weight_decay=args.weight_decay,
            seed=args.seed,
        ),
        max_history=getattr(args, "max_history", 20),
        device=args.device,
        precision=args.precision,
        resume=args.resume,
        overwrite=args.overwrite,
    )
    leads = PartialState(cpu=args.device == "cpu").is_main_process  # of the processes of `accelerate launch`
    with ProgressBar(Console(stderr=True, quiet=not leads)) as bar:
        outcome = train(job, bar)
    if leads:
        loss = "" if outcome.valid_loss is None else f", best validation loss {outcome.valid_loss:.4f}"
        print(f"{args.out / args.part}: {outcome.steps} steps{loss}")
