"""`sidebeam recommend`: ask a running sidecar once, and print what it says as it says it."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from typing import Literal

from sidebeam.client import (
    Beams,
    Draft,
    Event,
    InvalidRequest,
    Item,
    Provisional,
    Recommendation,
    RequestArguments,
    Sampling,
    SidebeamError,
)
from sidebeam.command import connection
from sidebeam.command.failure import explain

SUMMARY = "Ask a running sidecar for recommendations."

# How many entries of a ranking fit on one line before the answer.
_PREVIEW = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    connection.add_arguments(parser)
    context = parser.add_mutually_exclusive_group(required=True)
    context.add_argument("--history", type=_words, metavar="ID,ID", help="ids of past items, oldest first")
    context.add_argument("--prompt", metavar="TEXT", help="a prompt in your own words")
    context.add_argument("--tokens", type=_numbers, metavar="N,N", help="a prompt as token ids")
    parser.add_argument("--top-k", type=int, metavar="K", help="how many items; default: the bundle's")
    parser.add_argument("--exclude", type=_words, default=[], metavar="ID,ID", help="items that must not be returned")
    parser.add_argument("--search", choices=("beam", "exact"), default="beam", help="default: %(default)s")
    draw = parser.add_argument_group("relaxed verification: draw the items instead of taking the best")
    draw.add_argument("--verification", choices=("strict", "relaxed"), default="strict", help="default: %(default)s")
    draw.add_argument("--temperature", type=float, metavar="T", help="default: 1")
    draw.add_argument("--sample-top-k", type=int, metavar="N", help="draw among the N most likely; default: all")
    draw.add_argument("--seed", type=int, metavar="N", help="default: one that the sidecar takes")
    parser.add_argument("--draft", choices=("auto", "off"), help="default: auto")
    explicit = parser.add_argument_group("explicit drafts, instead of --draft")
    explicit.add_argument("--draft-beams", type=int, metavar="N", help="how wide the drafter searches")
    explicit.add_argument("--draft-length", type=int, metavar="N", help="how many levels it drafts for a pass")
    explicit.add_argument("--drafter", choices=("model", "catalog"), help="default: model")
    parser.add_argument("--timeout-s", type=float, default=2.0, metavar="S", help="deadline; default: %(default)s")
    parser.add_argument(
        "--on-deadline",
        choices=("fail", "best-so-far"),
        default="fail",
        help="best-so-far: take what is known just before it; default: %(default)s",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(args: argparse.Namespace) -> int:
    """Ask once. Returns 0 after an answer, 2 if the request is at fault, else 1."""
    if args.draft and _explicit(args):
        print("sidebeam recommend: --draft goes with none of --draft-beams, --draft-length, --drafter", file=sys.stderr)
        return 2
    if args.verification == "strict" and _drawing(args):
        print("sidebeam recommend: " + ", ".join(_drawing(args)) + " need --verification relaxed", file=sys.stderr)
        return 2
    try:
        there = connection.connection(args)
    except connection.ConnectionOptionError as error:
        print(f"sidebeam recommend: {error}", file=sys.stderr)
        return 2
    try:
        asyncio.run(_ask(there, _request(args), JsonPrinter() if args.json else TextPrinter()))
    except SidebeamError as error:
        print(explain("recommend", error), file=sys.stderr)
        return 2 if isinstance(error, InvalidRequest) else 1
    return 0


class JsonPrinter:
    """Prints one JSON object a line."""

    def show(self, event: Event) -> None:
        """Print `event`."""
        print(json.dumps(self._fields(event)), flush=True)

    def _fields(self, event: Event) -> dict[str, object]:
        fields = dataclasses.asdict(event)
        match event:
            case Provisional():
                return {"event": "provisional"} | fields
            case Beams():
                return {"event": "beams"} | fields
            case Recommendation():
                times = {name.removesuffix("_ms"): value for name, value in fields.pop("times").items()}
                return {"event": "final"} | fields | {"times_ms": times}


class TextPrinter:
    """Prints a line for each event, stamped with the milliseconds since the request, and a table for the answer."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def show(self, event: Event) -> None:
        """Print `event`."""
        print(f"{(time.monotonic() - self._started) * 1e3:9.1f} ms  {self._text(event)}", flush=True)

    def _text(self, event: Event) -> str:
        match event:
            case Provisional(items):
                return "provisional  " + _preview([item.item_id for item in items])
            case Beams(depth, beams):
                return f"depth {depth}      " + _preview([f"{''.join(b.sid)} {b.log_prob:.2f}" for b in beams])
            case Recommendation():
                return "answer\n\n" + _table(event.items) + "\n\n" + _cost(event)


async def _ask(there: connection.Connection, request: RequestArguments, printer: JsonPrinter | TextPrinter) -> None:
    async with there.client() as client, client.stream(**request) as events:
        async for event in events:
            printer.show(event)


def _request(args: argparse.Namespace) -> RequestArguments:
    draft: Literal["auto", "off"] | Draft = args.draft or "auto"
    if _explicit(args):
        draft = Draft(beams=args.draft_beams, length=args.draft_length, drafter=args.drafter or "model")
    return RequestArguments(
        history=args.history,
        prompt=args.prompt,
        tokens=args.tokens,
        top_k=args.top_k,
        exclude=args.exclude,
        draft=draft,
        search=args.search,
        sampling=_sampling(args) if args.verification == "relaxed" else None,
        timeout_s=args.timeout_s,
        on_deadline="best_so_far" if args.on_deadline == "best-so-far" else "fail",
    )


def _sampling(args: argparse.Namespace) -> Sampling:
    temperature = 1.0 if args.temperature is None else args.temperature
    return Sampling(temperature, args.sample_top_k, args.seed)


def _drawing(args: argparse.Namespace) -> list[str]:
    given = {"--temperature": args.temperature, "--sample-top-k": args.sample_top_k, "--seed": args.seed}
    return [option for option, value in given.items() if value is not None]


def _explicit(args: argparse.Namespace) -> bool:
    return any(value is not None for value in (args.draft_beams, args.draft_length, args.drafter))


def _words(text: str) -> list[str]:
    """Split at commas. An empty text is an empty list: whether that may be is the sidecar's to say."""
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    if "" in words:
        raise argparse.ArgumentTypeError(f"{text!r} has an empty entry between its commas")
    return words


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in _words(text)]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers") from error


def _preview(texts: Sequence[str]) -> str:
    more = len(texts) - _PREVIEW
    return ", ".join(texts[:_PREVIEW]) + (f" and {more} more" if more > 0 else "")


def _table(items: Sequence[Item]) -> str:
    """Of an answer that the deadline cut short, SIDs have a bar after the tokens that are verified."""
    rows = [("rank", "item", "log-prob", "SID")]
    rows += [(str(item.rank), item.item_id, f"{item.log_prob:.4f}", _spelled(item)) for item in items]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        f"  {rank:>{widths[0]}}  {item:<{widths[1]}}  {log_prob:>{widths[2]}}  {sid}"
        for rank, item, log_prob, sid in rows
    )
    return "\n".join(lines)


def _spelled(item: Item) -> str:
    verified, rest = "".join(item.sid[: item.verified]), "".join(item.sid[item.verified :])
    return f"{verified}|{rest}" if rest else verified


def _cost(answer: Recommendation) -> str:
    if answer.cut_short:
        return (
            "  cut short by the deadline: the target has verified what stands before each |\n"
            f"  catalog {answer.catalog_version}, request {answer.request_id}"
        )
    times = dataclasses.asdict(answer.times).items()
    spent = ", ".join(f"{name.removesuffix('_ms')} {value:.1f}" for name, value in times)
    drafts = f"{answer.accepted} of {answer.drafted} drafted nodes needed"
    return "\n".join(
        (
            f"  {answer.passes} passes, {answer.rows} rows, {drafts}",
            f"  {answer.search} search, {answer.scoring} scoring, catalog {answer.catalog_version}{_drawn(answer)}",
            f"  milliseconds: {spent}",
            f"  request {answer.request_id}",
        )
    )


def _drawn(answer: Recommendation) -> str:
    drawn = answer.sampling
    return "" if drawn is None else f"; drawn at temperature {drawn.temperature:g} with seed {drawn.seed}"
