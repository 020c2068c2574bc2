"""`sidebeam demo knowledge`: train a small language model once, serve it, and show texts drafted from earlier ones."""

from __future__ import annotations

import argparse
import asyncio
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console

from sidebeam.bundle.tokenizer import read_fast
from sidebeam.client import AsyncClient, SidebeamError
from sidebeam.command import text_comparison
from sidebeam.command.knowledge_story import KnowledgeStory
from sidebeam.command.sidecar import START_S, Sidecar, SidecarError
from sidebeam.command.subject import Cast, Subject
from sidebeam.folklore import PLAN, FolklorePlan, prepare_folklore
from sidebeam.training.demo import demo_cache
from sidebeam.training.progress import ProgressBar

SUMMARY = "train a small language model, and have texts about users and items written, drafted from earlier ones"

COMPARED = 8  # users, and as many items; others in the same number are asked about before
NEWCOMERS = 4  # a stream of random numbers that no other customers come from
PAUSE_S = 0.3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the demo's options."""
    parser.add_argument("--requests", type=int, default=2, metavar="N", help="users and items to show (default: 2)")
    parser.add_argument("--keep-serving", action="store_true", help="leave the sidecar up until Ctrl-C")


def run(args: argparse.Namespace) -> int:
    """Runs the demo. Returns 0, 1 when the first use or the sidecar failed, 2 for a bad option."""
    if args.requests < 1:
        print(f"sidebeam demo knowledge: --requests must be at least 1. Given: {args.requests}", file=sys.stderr)
        return 2
    return demo(Console(highlight=False), demo_cache(), PLAN, args.requests, COMPARED, keep_serving=args.keep_serving)


def demo(
    console: Console, cache: Path, plan: FolklorePlan, requests: int, compared: int, *, keep_serving: bool = False
) -> int:
    """The demo on a world and a model of `plan`, kept in `cache`; `compared` users and as many items make the table."""
    try:
        bundle = _prepared(console, cache, plan)
        # Texts that are learned here go into a copy: the kept pools stay what they are said to be.
        with tempfile.TemporaryDirectory(prefix="sidebeam-demo-") as copy:
            pools = shutil.copytree(bundle / "pools", Path(copy) / "pools")
            with Sidecar.of(bundle, "--pools", str(pools)) as sidecar:
                asyncio.run(_show(console, sidecar.address, bundle, plan, requests, compared))
                _print_next(console, bundle, sidecar.address if keep_serving else None)
                if keep_serving:
                    sidecar.keep()
    except (SidecarError, SidebeamError, OSError, ValueError) as error:  # ValueError: of training, groups and pools
        print(f"sidebeam demo knowledge: {error}", file=sys.stderr)
        return 1
    return 0


def _prepared(console: Console, cache: Path, plan: FolklorePlan) -> Path:
    bundle = plan.bundle(cache)
    if bundle.is_dir():
        return bundle
    console.print(
        "First use: a made-up shop, its customers, and a language model of a million\n"
        "weights that learns to tell of both. Some three minutes on two idle cores, many\n"
        f"more on busy ones; then the first text. Kept in\n{cache}.",
        soft_wrap=True,
    )
    started = time.monotonic()
    with ProgressBar() as bar:
        prepare_folklore(cache, bar, plan)
    console.print(f"Made in {time.monotonic() - started:.0f} s.")
    return bundle


async def _show(console: Console, address: str, bundle: Path, plan: FolklorePlan, requests: int, compared: int) -> None:
    users = Cast.of(bundle, "users", shown=(requests + 1) // 2, compared=compared, others=compared)
    items = Cast.of(bundle, "items", shown=requests // 2, compared=compared, others=compared)
    async with AsyncClient(address) as client:
        await client.wait_until_ready(START_S)
        _introduce(console, address, bundle)
        story = KnowledgeStory(console, client, _words(bundle))
        for number in range(len(users.shown) + len(items.shown)):
            cast, kind = (items, "an item") if number % 2 else (users, "a customer")
            await asyncio.sleep(PAUSE_S)
            await story.subject(f"{number + 1} of {requests}: {kind}", cast.shown[number // 2])
        await story.newcomer(*_newcomer(plan))
        console.print("\nNow others, in all three ways, for a table.")
        with ProgressBar() as bar:
            found = await text_comparison.compare(client, (users, items), bar)
        text_comparison.show(console, found)


def _introduce(console: Console, address: str, bundle: Path) -> None:
    with (bundle / "texts-old.jsonl").open("rb") as lines:
        texts = sum(1 for _ in lines)
    console.print(f"A sidecar writes texts on {address}, with the model in\n{bundle}.", soft_wrap=True)
    console.print(
        f"Its pools hold {texts:,} earlier texts about users and items, by group and of all.\n"
        "They are not the model's: the world's grammar told them, as another writer\n"
        "might have, from what was known then. A model's own would fit better still."
    )


def _newcomer(plan: FolklorePlan) -> tuple[Subject, Subject]:
    """A customer at two times, whom no file of the bundle knows."""
    world = plan.world()
    (customer,) = world.customers(1, stream=NEWCOMERS)
    earlier, now = (Subject("newcomer", prompt) for prompt in world.user_prompts([customer.earlier, customer.known]))
    return earlier, now


def _words(bundle: Path) -> Callable[[int], str]:
    tokenizer = read_fast(bundle / "target" / "tokenizer.json")
    return lambda token: str(tokenizer.decode([token])).strip() or "(end)"


def _print_next(console: Console, bundle: Path, address: str | None) -> None:
    say = partial(console.print, soft_wrap=True, markup=False)
    about = Cast.of(bundle, "items", shown=1, compared=0, others=0).shown[0]
    say("\nTry next:")
    if address is None:
        say(f"  sidebeam serve --bundle {bundle}")
    say(
        f"  sidebeam generate --address {address or '127.0.0.1:50051'} --entity {about.entity} --learn "
        f"--prompt {shlex.quote(about.prompt)}"
    )
    files = f"--bundle {bundle} --prompts {bundle / 'prompts-users-new.jsonl'}"
    say(f"  sidebeam knowledge generate {files} --out texts.jsonl")
    say(f"  sidebeam knowledge pools show --pools {bundle / 'pools'}")
