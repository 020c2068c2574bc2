"""`sidebeam train`: a target, what it teaches, and a draft that learns from it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sidebeam.alignment.aim import ALIGNED, ALIGNED_BY_OBJECTIVE, LEAST_TAU, MOST_TAU, OBJECTIVES, ON_POLICY, Aim
from sidebeam.training import TrainingError
from sidebeam.training import command as training
from sidebeam.training.recipe import DISTILLED

if TYPE_CHECKING:
    from sidebeam.alignment.lesson import DraftLesson
    from sidebeam.alignment.teacher import TeacherJob
    from sidebeam.alignment.teacher_file import TeacherFolder

SUMMARY = "train a target or a draft model on user histories"

ALONE, TAUGHT = "word-kd", "joint"  # objectives without and with teacher data, unless --objective names one
REFERENCE_BYTES = 1_000_000  # what AtSpeed's reference code stores for a prompt of Beauty


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `target`, `teacher` and `draft` with their options."""
    parts = parser.add_subparsers(dest="part", required=True, metavar="target|teacher|draft")
    training.add_target(parts.add_parser("target", help="train a target and make --out a bundle"))
    _add_teacher(parts.add_parser("teacher", help="ask a bundle's target about every prompt that a draft learns from"))
    _add_draft(parts.add_parser("draft", help="train a draft for the target in --out"))


def run(args: argparse.Namespace) -> int:
    """Returns 0, or 2 when the input was not usable; Ctrl-C raises `KeyboardInterrupt`, the state kept."""
    if args.part == "target":
        return training.run_target(args)
    if args.part == "draft":
        return training.run(args, lambda job, bar: job.train_draft(bar, _lesson(args)))
    try:
        _ask(args)
    except TrainingError as error:
        print(f"sidebeam train teacher: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command with --resume continues after the last whole shard", file=sys.stderr)
        raise
    return 0


def _add_teacher(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--bundle", type=Path, required=True, metavar="DIR", help="whose target is asked")
    add("--interactions", type=Path, required=True, metavar="FILE", help='{"user", "train", "valid", "test"} per line')
    add("--out", type=Path, required=True, metavar="DIR", help="where the answers go")
    add("--top-k", type=int, default=20, metavar="K", help="beams of every depth (default: 20)")
    add("--batch", type=int, default=16, metavar="N", help="prompts in flight at once (default: 16)")
    add("--shard-size", type=int, default=5000, metavar="N", help="prompts per file (default: 5000)")
    add("--users", type=int, default=None, metavar="N", help="only the file's first N users (default: all)")
    add("--threads", type=int, default=None, help="CPU threads (default: PyTorch's choice)")
    add("--device", default="cpu", help="where the target runs (default: cpu)")
    add("--dtype", default="float32", choices=["float32", "bfloat16", "float16"], help="of the target's weights")
    add("--resume", action="store_true", help="continue after the last whole shard, with the same options")


def _add_draft(parser: argparse.ArgumentParser) -> None:
    training.add_options(parser, "draft")
    add = parser.add_argument
    listed = "; ".join(f"{name}: {looks}" for name, (_, looks) in OBJECTIVES.items())
    add(
        "--objective",
        choices=tuple(OBJECTIVES),
        default=None,
        help=f"{listed} (default: {TAUGHT} with --teacher, {ALONE} without)",
    )
    add("--teacher", type=Path, default=None, metavar="DIR", help="what `sidebeam train teacher` wrote")
    others = ", ".join(f"{name} {alpha:g}" for name, alpha in ALIGNED_BY_OBJECTIVE.items())
    add(
        "--alpha",
        type=float,
        default=None,
        metavar="A",
        help=f"share of alignment in the loss (default: {ALIGNED} with --teacher, {others}; {DISTILLED} without)",
    )
    add("--beta", type=float, default=1.0, metavar="B", help="strength of atspeed-s' density term (default: 1)")
    add(
        "--tau",
        type=float,
        default=1.0,
        metavar="T",
        help=f"divides log-probs before they are compared, {LEAST_TAU} to {MOST_TAU} (default: 1)",
    )
    add("--beams", type=int, default=None, metavar="N", help="top-n: the draft's N (default: the bundle's)")
    add("--level-weights", type=_weights, default=None, metavar="W,W,...", help="of the depths' losses, from 1 to L")
    add("--on-policy", action="store_true", help=f"judge the draft's own beams; for {', '.join(ON_POLICY)}")


def _weights(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(weight) for weight in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be numbers with commas between; given {text!r}") from None


def _lesson(args: argparse.Namespace) -> DraftLesson:
    from sidebeam.alignment.lesson import DraftLesson

    objective = args.objective or (TAUGHT if args.teacher else ALONE)
    usual = ALIGNED_BY_OBJECTIVE.get(objective, ALIGNED) if args.teacher else DISTILLED
    aim = Aim(
        objective=objective,
        alpha=usual if args.alpha is None else args.alpha,
        beta=args.beta,
        tau=args.tau,
        beams=args.beams,
        level_weights=args.level_weights,
        on_policy=args.on_policy,
    )
    return DraftLesson(aim, args.teacher, args.interactions)


def _ask(args: argparse.Namespace) -> None:
    from rich.console import Console

    from sidebeam.alignment.teacher import TeacherJob
    from sidebeam.training.progress import ProgressBar

    job = TeacherJob(
        bundle=args.bundle,
        interactions=args.interactions,
        out=args.out,
        top_k=args.top_k,
        batch=args.batch,
        shard_size=args.shard_size,
        users=args.users,
        threads=args.threads,
        device=args.device,
        dtype=args.dtype,
        resume=args.resume,
    )
    with ProgressBar(Console(stderr=True)) as bar:
        print(_told(job, job.run(bar)))


def _told(job: TeacherJob, folder: TeacherFolder) -> str:
    samples = sum(folder.samples.values())
    each = folder.nbytes / samples
    return (
        f"{job.out}: {folder.samples['train']:,} training and {folder.samples['valid']:,} validation prompts, "
        f"{job.top_k} beams of every depth, {folder.nbytes / 1e6:,.1f} MB; {each:,.0f} bytes per prompt "
        f"(AtSpeed's reference code: about 1 MB, {REFERENCE_BYTES / each:,.0f} times as much)"
    )
