"""What an evaluation is asked to do, read and checked as far as the command line alone allows."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sidebeam.evaluation.error import EvaluationError

Verification = Literal["strict", "relaxed"]

VERIFICATIONS: dict[str, tuple[Verification, ...]] = {
    "strict": ("strict",),
    "relaxed": ("relaxed",),
    "both": ("strict", "relaxed"),
}
DRAFTS = ("off", "auto", "model", "catalog")
MOST_SEEDS = 1 << 63  # that of a user is added
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Options:
    """`drafts` None: all that the bundle has; `draft_beams`, `draft_length` None: the bundle's default and L - 1."""

    bundle: Path
    interactions: Path
    report: Path
    widths: tuple[int, ...]  # ascending
    verifications: tuple[Verification, ...]
    temperature: float
    seed: int
    users: int | None
    drafts: tuple[str, ...] | None
    draft_beams: int | None
    draft_length: int | None
    draft_folders: dict[str, Path]  # by name
    generate: bool
    learn: int
    threads: int
    device: str
    dtype: Literal["float32", "bfloat16", "float16"]

    @classmethod
    def read(cls, args: argparse.Namespace) -> Options:
        """Raises EvaluationError naming the first option whose value cannot be right."""
        if not (math.isfinite(args.temperature) and args.temperature > 0):
            raise EvaluationError(f"--temperature must be a finite number above 0; given {args.temperature:g}")
        return cls(
            bundle=args.bundle,
            interactions=args.interactions,
            report=args.report,
            widths=_widths(args.top_k),
            verifications=VERIFICATIONS[_one_of("--verification", args.verification, tuple(VERIFICATIONS))],
            temperature=args.temperature,
            seed=_seed(args.seed),
            users=None if args.users is None else _at_least("--users", args.users, 1),
            drafts=_drafts(args.drafts, bool(args.draft_folder)),
            draft_beams=None if args.draft_beams is None else _at_least("--draft-beams", args.draft_beams, 1),
            draft_length=None if args.draft_length is None else _at_least("--draft-length", args.draft_length, 1),
            draft_folders=_draft_folders(args.draft_folder),
            generate=not args.no_generate,
            learn=_at_least("--learn", args.learn, 0),
            threads=_at_least("--threads", args.threads, 1),
            device=args.device,
            dtype=args.dtype,
        )


def _at_least(option: str, value: int, least: int) -> int:
    if value < least:
        raise EvaluationError(f"{option} must be at least {least}; given {value}")
    return value


def _seed(value: int) -> int:
    if not 0 <= value < MOST_SEEDS:
        raise EvaluationError(f"--seed must be 0 to {MOST_SEEDS - 1}; given {value}")
    return value


def _one_of(option: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise EvaluationError(f"{option} must be one of {', '.join(known)}; given {value!r}")
    return value


def _widths(text: str) -> tuple[int, ...]:
    try:
        widths = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise EvaluationError(f"--top-k must be whole numbers with commas between them; given {text!r}") from None
    _at_least("--top-k", widths[0], 1)
    return tuple(widths)


def _drafts(text: str | None, with_folders: bool) -> tuple[str, ...] | None:
    if text is None:
        return None
    given = {_one_of("--drafts", part.strip(), DRAFTS) for part in text.split(",")}
    if with_folders and not given & {"model", "auto"}:
        raise EvaluationError(f"--draft-folder must go with --drafts model or auto; given --drafts {text}")
    return tuple(draft for draft in DRAFTS if draft in given | {"off"})  # `off` is what the others are compared with


def _draft_folders(given: list[str]) -> dict[str, Path]:
    """NAME=DIR, or DIR alone, which is then known by its own name."""
    folders: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        folder = Path(path if equals else text)
        name = name if equals else folder.resolve().name
        if not name:
            raise EvaluationError(f"--draft-folder must be DIR or NAME=DIR; given {text!r}")
        if name in folders:
            raise EvaluationError(f"--draft-folder must name each draft once; given {name!r} twice")
        if not (folder / "config.json").is_file():
            raise EvaluationError(f"--draft-folder must be a model's folder with a config.json; given {text!r}")
        folders[name] = folder
    return folders
