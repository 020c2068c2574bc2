"""`sidebeam demo`: train a small made-up world once, serve it, and show how answers arrive."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from rich.console import Console, JustifyMethod
from rich.padding import Padding
from rich.table import Table

from sidebeam.client import AsyncClient, Beams, Provisional, Recommendation, SidebeamError
from sidebeam.command.sidecar import START_S, Sidecar, SidecarError
from sidebeam.training.demo import PLAN, demo_cache, prepare_demo
from sidebeam.training.error import TrainingError
from sidebeam.training.progress import ProgressBar

SUMMARY = "train, serve and query a small synthetic world"

TOP_K = 10
PAUSE_S = 0.3  # customers come one by one; on two cores the sidecar guesses only when it is not busy
SHOWN = 3  # beams and provisional items in a line
COMPARED = 24  # users of the side-by-side comparison
LEARN = 3  # rounds before it: a new sidecar tries drafts only to learn what they are worth on this machine
SHORTEST = 6  # items that a shown user has bought before
CALL_S = 30.0
COSTS = ("passes", "rows", "drafted", "accepted")  # means of these fields of the answers

Mode = Literal["auto", "off"]


@dataclass(frozen=True, slots=True)
class Customer:
    """A user of the demo's world: what they bought, oldest first, and what they bought next."""

    history: tuple[str, ...]
    bought_next: str


class Story:
    """Tells on a console what a sidecar answers to customers of the demo's world."""

    def __init__(self, console: Console, client: AsyncClient, titles: Mapping[str, str]) -> None:
        self._console = console
        self._client = client
        self._titles = titles

    async def request(self, label: str, customer: Customer) -> None:
        """Sends one customer's history and prints each event as it arrives."""
        say = partial(self._console.print, soft_wrap=True)
        say(f"\n[bold]{label}[/]: a customer bought, latest last:")
        say("  " + " · ".join(self._titles[item] for item in customer.history[-5:]))
        started = time.perf_counter()
        async with self._client.stream(
            history=customer.history, exclude=customer.history, top_k=TOP_K, timeout_s=CALL_S
        ) as events:
            async for event in events:
                at = f"  [dim]{(time.perf_counter() - started) * 1e3:7.1f} ms[/]"
                match event:
                    case Provisional():
                        guess = " · ".join(self._titles[item.item_id] for item in event.items[:SHOWN])
                        say(f"{at}  provisional  {guess} …  [dim]the draft's guess: prefetch these[/]")
                    case Beams():
                        best = "  ".join(f"{''.join(beam.sid)} {beam.log_prob:.2f}" for beam in event.beams[:SHOWN])
                        say(f"{at}  beams, depth {event.depth}  {best} …  [dim]{len(event.beams)} accepted[/]")
                    case Recommendation():
                        say(f"{at}  final")
                        self._ranking(event, customer)

    async def comparison(self, customers: Sequence[Customer]) -> None:
        """Asks for every customer's items with and without drafts, in turn, and prints both costs."""
        for customer in [*customers] * LEARN:
            await self._client.recommend(
                history=customer.history, exclude=customer.history, top_k=TOP_K, timeout_s=CALL_S
            )
        modes: tuple[Mode, Mode] = ("off", "auto")
        answers: dict[Mode, list[Recommendation]] = {mode: [] for mode in modes}
        took: dict[Mode, list[float]] = {mode: [] for mode in modes}
        for customer in customers:
            for mode in modes:
                started = time.perf_counter()
                answer = await self._client.recommend(
                    history=customer.history, exclude=customer.history, top_k=TOP_K, draft=mode, timeout_s=CALL_S
                )
                took[mode].append((time.perf_counter() - started) * 1e3)
                answers[mode].append(answer)
        table = Table(title=f"Drafts off and on, {len(customers)} customers each, {TOP_K} items", title_justify="left")
        for column in ("drafts", "median ms", "target passes", "rows", "drafted", "of them needed", "hits"):
            table.add_column(column, justify="left" if column == "drafts" else "right")
        for mode in modes:
            table.add_row(mode, f"{statistics.median(took[mode]):.1f}", *_means(answers[mode], customers))
        self._console.print()
        self._console.print(table)
        same = sum(_ids(off) == _ids(on) for off, on in zip(*answers.values(), strict=True))
        self._console.print(f"The same items in the same order for {same} of {len(customers)} customers.")

    def _ranking(self, answer: Recommendation, customer: Customer) -> None:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        justified: tuple[JustifyMethod, ...] = ("right", "left", "left", "right", "left")
        for justify in justified:
            table.add_column(justify=justify, no_wrap=True)
        for item in answer.items:
            note = "◂ bought next" if item.item_id == customer.bought_next else ""
            title = self._titles[item.item_id]
            table.add_row(str(item.rank), title, "".join(item.sid), f"{item.log_prob:.2f}", f"[green]{note}[/]")
        self._console.print(Padding(table, (0, 0, 0, 4)))
        self._console.print(
            f"    {answer.passes} target passes, {answer.rows} rows; {answer.drafted} nodes drafted, "
            f"{answer.accepted} of them needed",
            style="dim",
            highlight=False,
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the demo's options."""
    parser.add_argument("--requests", type=int, default=3, metavar="N", help="requests to show (default: 3)")
    parser.add_argument("--keep-serving", action="store_true", help="leave the sidecar up until Ctrl-C")


def run(args: argparse.Namespace) -> int:
    """Runs the demo. Returns 0, 1 when the sidecar failed, 2 for a bad option."""
    console = Console(highlight=False)
    try:
        if args.requests < 1:
            raise TrainingError(f"--requests must be at least 1. Given: {args.requests}")
        bundle = _prepared(console)
    except TrainingError as error:
        print(f"sidebeam demo: {error}", file=sys.stderr)
        return 2
    try:
        with Sidecar.of(bundle) as sidecar:
            asyncio.run(_show(console, sidecar.address, bundle, args.requests))
            _print_next(console, bundle, sidecar.address if args.keep_serving else None)
            if args.keep_serving:
                sidecar.keep()
    except (SidecarError, SidebeamError) as error:
        print(f"sidebeam demo: {error}", file=sys.stderr)
        return 1
    return 0


def _prepared(console: Console) -> Path:
    cache = demo_cache()
    if not PLAN.bundle(cache).is_dir():
        console.print("First start: a made-up shop, a target and a draft trained on its customers. About a minute.")
    with ProgressBar() as bar:
        return prepare_demo(cache, bar)


async def _show(console: Console, address: str, bundle: Path, requests: int) -> None:
    titles: dict[str, str] = json.loads((bundle / "titles.json").read_text(encoding="utf-8"))
    customers = _customers(bundle / "interactions.jsonl", max(requests, COMPARED))
    async with AsyncClient(address) as client:
        await client.wait_until_ready(START_S)
        console.print(f"A sidecar serves {len(titles):,} items of {bundle} on {address}.")
        story = Story(console, client, titles)
        for number, customer in enumerate(customers[:requests], start=1):
            await asyncio.sleep(PAUSE_S)
            await story.request(f"Request {number} of {requests}", customer)
        await story.comparison(customers[:COMPARED])


def _customers(path: Path, most: int) -> list[Customer]:
    customers: list[Customer] = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            user = json.loads(line)
            history = (*map(str, user["train"]), *map(str, user["valid"]))
            if len(history) >= SHORTEST:
                customers.append(Customer(history, str(user["test"][0])))
            if len(customers) == most:
                break
    return customers


def _means(answers: Sequence[Recommendation], customers: Sequence[Customer]) -> tuple[str, ...]:
    costs = (statistics.fmean(getattr(answer, cost) for answer in answers) for cost in COSTS)
    hits = sum(customer.bought_next in _ids(answer) for answer, customer in zip(answers, customers, strict=True))
    return (*(f"{cost:.1f}" for cost in costs), f"{hits} of {len(customers)}")


def _ids(answer: Recommendation) -> list[str]:
    return [item.item_id for item in answer.items]


def _print_next(console: Console, bundle: Path, address: str | None) -> None:
    say = partial(console.print, soft_wrap=True)
    say("\nTry next:")
    if address is None:
        say(f"  sidebeam serve --bundle {bundle}")
    say(f"  sidebeam recommend --address {address or '127.0.0.1:50051'} --history 12,55,9 --top-k {TOP_K}")
    say(f"  sidebeam bench recommend --bundle {bundle} --interactions {bundle / 'interactions.jsonl'}")
    say("  sidebeam train target --help      [dim]for your own items and users[/]")
