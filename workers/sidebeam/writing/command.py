"""`sidebeam knowledge generate`: texts for a file of prompts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sidebeam.writing.error import WritingError

if TYPE_CHECKING:
    from sidebeam.texts import Verification
    from sidebeam.writing.job import WritingJob

SUMMARY = "write texts about users or items, drafted from earlier ones; it can be continued at any time"

RELAXED = ("k", "p", "max_divergence", "keep_protected")
SAMPLED = ("temperature", "sample_top_k", "seed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sidebeam knowledge generate`."""
    add = parser.add_argument
    add("--bundle", type=Path, required=True, metavar="DIR", help="whose target writes")
    add("--prompts", type=Path, required=True, metavar="FILE", help='{"entity", "prompt"} per line; "group" may follow')
    add("--out", type=Path, required=True, metavar="FILE", help='{"entity", "text"} or {"entity", "error"} per line')
    add("--pools", type=Path, default=None, metavar="DIR", help="earlier texts to draft from (default: the bundle's)")
    add("--groups", type=Path, default=None, metavar="FILE", help='{"7": "<group>", ...} (default: no groups)')
    add("--max-new-tokens", type=int, default=None, metavar="N", help="of a text (default: the bundle's)")
    add("--drafts", choices=("auto", "off"), default="auto", help="off: every pass writes one token (default: auto)")
    add("--learn", action="store_true", help="let --pools learn the texts, and make them if there are none")
    add("--batch", type=int, default=16, metavar="N", help="texts in flight at once (default: 16)")
    add("--threads", type=int, default=None, metavar="N", help="CPU threads (default: PyTorch's choice)")
    add("--device", default="cpu", help="where the target runs (default: cpu)")
    add("--dtype", default="float32", choices=["float32", "bfloat16", "float16"], help="of the target's weights")
    add("--resume", action="store_true", help="continue --out where it stopped, with the same options")
    _add_verification(parser)


def _add_verification(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--verification",
        choices=("exact", "relaxed", "sampled"),
        default="exact",
        help="exact: greedy decoding's texts; relaxed: fewer passes, other words here and there; sampled: drawn",
    )
    relaxed = parser.add_argument_group("relaxed").add_argument
    relaxed("--k", type=int, default=None, metavar="K", help="accept the K likeliest tokens .. (default: 2)")
    relaxed("--p", type=float, default=None, metavar="P", help=".. whose probability is above P (default: 0.1)")
    relaxed("--max-divergence", type=float, default=None, metavar="D", help="nats per text (default: no limit)")
    relaxed("--keep-protected", action="store_true", default=None, help="digits and structure are never traded")
    sampled = parser.add_argument_group("sampled").add_argument
    sampled("--temperature", type=float, default=None, metavar="T", help="divides logits (default: 1)")
    sampled("--sample-top-k", type=int, default=None, metavar="K", help="among the K likeliest; 0: all (default: 0)")
    sampled("--seed", type=int, default=None, metavar="S", help="the same texts again (default: 0)")


def run(args: argparse.Namespace) -> int:
    """0 once every prompt has its line, 1 if the disk failed, 2 for unusable input.

    Ctrl-C raises `KeyboardInterrupt`, the lines kept.
    """
    from rich.console import Console

    from sidebeam.training.progress import ProgressBar

    again = "the same command with --resume continues"
    try:
        job = _job(args)
        with ProgressBar(Console(stderr=True)) as bar:
            tally = job.run(bar)
    except WritingError as error:
        print(f"sidebeam knowledge generate: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"sidebeam knowledge generate: {error}; all lines before are whole, {again}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"interrupted; all lines are whole, {again}", file=sys.stderr)
        raise
    for line in tally.told():
        print(f"{job.out}: {line}")
    return 0


def _job(args: argparse.Namespace) -> WritingJob:
    from sidebeam.writing.job import WritingJob

    return WritingJob(
        bundle=args.bundle,
        prompts=args.prompts,
        out=args.out,
        pools=args.pools,
        groups=args.groups,
        verification=_verification(args),
        max_new_tokens=args.max_new_tokens,
        drafts=args.drafts,
        batch=args.batch,
        threads=args.threads,
        device=args.device,
        dtype=args.dtype,
        learn=args.learn,
        resume=args.resume,
    )


def _verification(args: argparse.Namespace) -> Verification:
    """Raises `WritingError` for a value out of range, and for an option of another kind of verification."""
    from sidebeam.texts import Exact, Relaxed, Sampled

    for kind, names in (("relaxed", RELAXED), ("sampled", SAMPLED)):
        astray = [name for name in names if getattr(args, name) is not None and args.verification != kind]
        if astray:
            raise WritingError(f"{_option(astray[0])} is for --verification {kind}; given {args.verification}")
    try:
        if args.verification == "relaxed":
            return Relaxed(**{name: value for name in RELAXED if (value := getattr(args, name)) is not None})
        if args.verification == "sampled":
            given = {name: value for name in SAMPLED if (value := getattr(args, name)) is not None}
            return Sampled(**{name.removeprefix("sample_"): value for name, value in given.items()})
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        raise WritingError(f"{_option('sample_top_k' if name == 'top_k' else name)} {rest}") from None
    return Exact()


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
