"""`sidebeam knowledge prompts`: what a language model is asked about users and items."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from sidebeam.grouping import GroupingError, read_attributes, read_logs
from sidebeam.prompts.error import PromptError
from sidebeam.prompts.prompt_file import write_prompts
from sidebeam.prompts.render import item_prompts, user_prompts
from sidebeam.prompts.template import KINDS, copy_templates, open_template

SUMMARY = "write the prompts that ask for knowledge about users or items"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sidebeam knowledge prompts`."""
    add = parser.add_argument
    add(
        "--interactions", type=Path, metavar="FILE", help='{"user", "train", ...} per line; for items: only those in it'
    )
    add("--attributes", type=Path, metavar="FILE", help='{"entity": id, "title": .., ...} per line')
    add("--kind", choices=KINDS, help="what the prompts are about")
    add("--templates", type=Path, metavar="DIR", help="with user.toml or item.toml (default: those of the package)")
    add("--out", type=Path, metavar="FILE", help='{"entity", "prompt"} per line')
    add("--copy-templates", type=Path, metavar="DIR", help="write the package's templates there, to be edited")


def run(args: argparse.Namespace) -> int:
    """0 once the file is written, 2 for unusable input; no file is written then."""
    try:
        if args.copy_templates is not None:
            for path in copy_templates(args.copy_templates):
                print(path)
            if args.out is None:
                return 0
        _write(args)
    except (PromptError, GroupingError) as error:
        print(f"sidebeam knowledge prompts: {error}", file=sys.stderr)
        return 2
    return 0


def _write(args: argparse.Namespace) -> None:
    needed = ["kind", "attributes", "out", *(["interactions"] if args.kind == "user" else [])]
    missing = [f"--{name.replace('_', '-')}" for name in needed if getattr(args, name) is None]
    if missing:
        raise PromptError(f"there must be {', '.join(missing)}")
    template = open_template(args.kind, args.templates)
    attributes = read_attributes(args.attributes)
    logs = [] if args.interactions is None else read_logs(args.interactions)
    prompts: Iterator[tuple[str, str]]
    if args.kind == "user":
        prompts = user_prompts(template, logs, attributes)
    else:
        known = dict.fromkeys(item for log in logs for item in log.train)
        prompts = item_prompts(template, known if args.interactions is not None else attributes, attributes)
    written = write_prompts(args.out, prompts)
    bare = sum(not log.train for log in logs) if args.kind == "user" and template.nothing is None else 0
    left = f"; {bare:,} users without items left out" if bare else ""
    print(f"{args.out}: {written:,} prompts{left}")
