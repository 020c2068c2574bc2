"""`sidebeam generate`: have a running sidecar write one text, and print it as it grows."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
from typing import Any, Literal

from sidebeam.client import (
    InvalidRequest,
    Relaxed,
    Sampled,
    SidebeamError,
    Text,
    TextArguments,
    TextDraft,
    TextEvent,
    TextPiece,
)
from sidebeam.command import connection
from sidebeam.command.failure import explain

SUMMARY = "Have a running sidecar write a text about a user or an item."

RELAXED = {"--k": "k", "--p": "p", "--max-divergence": "max_divergence", "--keep-protected": "keep_protected"}
SAMPLED = {"--temperature": "temperature", "--sample-top-k": "top_k", "--seed": "seed"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    connection.add_arguments(parser)
    context = parser.add_mutually_exclusive_group(required=True)
    context.add_argument("--prompt", metavar="TEXT", help="what the text follows; - reads it from standard input")
    context.add_argument("--tokens", type=_numbers, metavar="N,N", help="the same as token ids")
    parser.add_argument("--entity", metavar="ID", help="whose text it is: its earlier one is the best draft")
    parser.add_argument("--group", metavar="G", help="whose texts to draft from first; default: the entity's group")
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="most tokens to write; default: the bundle's")
    parser.add_argument(
        "--verification",
        choices=("exact", "relaxed", "sampled"),
        default="exact",
        help="exact: greedy decoding's text; relaxed: fewer passes, other words here and there; sampled: drawn",
    )
    relaxed = parser.add_argument_group("relaxed").add_argument
    relaxed("--k", type=int, metavar="K", help="accept the K likeliest tokens .. (default: 2)")
    relaxed("--p", type=float, metavar="P", help=".. whose probability is above P (default: 0.1)")
    relaxed("--max-divergence", type=float, metavar="D", help="nats per text (default: no limit)")
    relaxed("--keep-protected", action="store_true", default=None, help="digits and structure are never traded")
    sampled = parser.add_argument_group("sampled").add_argument
    sampled("--temperature", type=float, metavar="T", help="divides logits (default: 1)")
    sampled("--sample-top-k", type=int, metavar="N", help="draw among the N likeliest (default: all)")
    sampled("--seed", type=int, metavar="N", help="default: one that the sidecar takes")
    parser.add_argument("--draft", choices=("auto", "explicit", "off"), default="auto", help="default: %(default)s")
    parser.add_argument("--draft-rows", type=int, metavar="N", help="most tokens drafted for a pass (default: 64)")
    parser.add_argument("--draft-depth", type=int, metavar="N", help="most of them in a row (default: 32)")
    parser.add_argument("--learn", action="store_true", help="let the pools learn the text; needs --entity")
    parser.add_argument("--timeout-s", type=float, default=60.0, metavar="S", help="deadline; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(args: argparse.Namespace) -> int:
    """Have one text written. Returns 0 once it is there, 2 if the request is at fault, else 1."""
    for kind, options in (("relaxed", RELAXED), ("sampled", SAMPLED)):
        astray = [option for option in options if _given(args, option) is not None and args.verification != kind]
        if astray:
            print(f"sidebeam generate: {', '.join(astray)} need --verification {kind}", file=sys.stderr)
            return 2
    if args.draft == "off" and (args.draft_rows is not None or args.draft_depth is not None):
        print("sidebeam generate: --draft off goes with none of --draft-rows, --draft-depth", file=sys.stderr)
        return 2
    try:
        there = connection.connection(args)
    except connection.ConnectionOptionError as error:
        print(f"sidebeam generate: {error}", file=sys.stderr)
        return 2
    printer = JsonPrinter() if args.json else TextPrinter()
    try:
        asyncio.run(_ask(there, _request(args), printer))
    except SidebeamError as error:
        printer.stop()
        print(explain("generate", error), file=sys.stderr)
        return 2 if isinstance(error, InvalidRequest) else 1
    return 0


class JsonPrinter:
    """Prints one JSON object a line."""

    def show(self, event: TextEvent) -> None:
        """Print `event`."""
        fields = dataclasses.asdict(event)
        if isinstance(event, Text):
            times = {name.removesuffix("_ms"): value for name, value in fields.pop("times").items()}
            fields = {"event": "summary"} | fields | {"times_ms": times}
        else:
            fields = {"event": "piece"} | fields
        print(json.dumps(fields, ensure_ascii=False), flush=True)

    def stop(self) -> None:
        """Nothing is open between two lines."""


class TextPrinter:
    """Prints the text as it grows, on standard output, and what it cost, on standard error: a pipe gets the text."""

    def __init__(self) -> None:
        self._open = False

    def show(self, event: TextEvent) -> None:
        """Print `event`."""
        if isinstance(event, TextPiece):
            sys.stdout.write(event.text)
            sys.stdout.flush()
            self._open = self._open or bool(event.text)
            return
        print(flush=True)
        self._open = False
        print(_cost(event), file=sys.stderr)

    def stop(self) -> None:
        """End the line of a text that broke off."""
        if self._open:
            print(flush=True)


async def _ask(there: connection.Connection, request: TextArguments, printer: JsonPrinter | TextPrinter) -> None:
    async with there.client() as client, client.stream_text(**request) as events:
        async for event in events:
            printer.show(event)


def _request(args: argparse.Namespace) -> TextArguments:
    draft: Literal["auto", "off"] | TextDraft = "off"
    if args.draft != "off":
        draft = TextDraft(args.draft, args.draft_rows, args.draft_depth)
    return TextArguments(
        prompt=sys.stdin.read() if args.prompt == "-" else args.prompt,
        tokens=args.tokens,
        entity=args.entity,
        group=args.group,
        max_new_tokens=args.max_new_tokens,
        verification=_verification(args),
        draft=draft,
        learn=args.learn,
        timeout_s=args.timeout_s,
    )


def _verification(args: argparse.Namespace) -> Literal["exact"] | Relaxed | Sampled:
    options = {"relaxed": RELAXED, "sampled": SAMPLED}.get(args.verification, {})
    given = {name: value for option, name in options.items() if (value := _given(args, option)) is not None}
    if args.verification == "relaxed":
        return Relaxed(**given)
    return Sampled(**given) if args.verification == "sampled" else "exact"


def _given(args: argparse.Namespace, option: str) -> Any:
    return getattr(args, option.removeprefix("--").replace("-", "_"))


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers") from error


def _cost(text: Text) -> str:
    drafted = ", ".join(f"{name} {tier.accepted} of {tier.drafted}" for name, tier in text.tiers.items())
    parts = [
        f"{len(text.tokens)} tokens in {text.passes} passes ({text.tokens_per_pass:.1f} a pass), {text.stop}",
        f"drafts accepted: {drafted or 'none made'}",
        f"{text.times.total_ms:.0f} ms",
    ]
    if text.verification == "relaxed":
        parts.append(f"{len(text.relaxed)} relaxed tokens")
    if text.sampled is not None:
        parts.append(f"seed {text.sampled.seed}")
    if text.draft_note:
        parts.append(text.draft_note)
    return "; ".join([*parts, f"request {text.request_id}"])
