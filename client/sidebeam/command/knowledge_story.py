"""What the knowledge demo shows of single texts: how they grow, what they cost, and what relaxed ones traded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from textwrap import fill

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from sidebeam.client import AsyncClient, Relaxed, Text, TextArguments, TextPiece
from sidebeam.command.subject import Subject
from sidebeam.command.text_flow import WIDTH, TextFlow

RULE = Relaxed()
CALL_S = 600.0  # a machine that is busy with other things may take minutes
LEARNED_S, LOOK_S = 60.0, 0.5  # how long pools may take to learn a text, and how often is asked whether they have
TRADES = 5  # of a text that are shown


def request(subject: Subject) -> TextArguments:
    """What is asked about `subject`, exact and with drafts."""
    return TextArguments(prompt=subject.prompt, entity=subject.entity, group=subject.group, timeout_s=CALL_S)


def by_the_rule(text: Text) -> int:
    """How many relaxed tokens the rule allows: they should all be such."""
    return sum(each.rank <= RULE.k and each.q > RULE.p for each in text.relaxed)


class KnowledgeStory:
    """Has a sidecar write texts, and tells on a console what comes. `word` reads a token."""

    def __init__(self, console: Console, client: AsyncClient, word: Callable[[int], str]) -> None:
        self._console = console
        self._client = client
        self._word = word

    async def subject(self, title: str, subject: Subject) -> None:
        """One user or item three times: without drafts, with pools, relaxed."""
        self._headline(title)
        self._asked(subject)
        self._step("Without drafts: each pass of the model writes one token.")
        plain = await self._written(TextArguments(**request(subject), draft="off"), marked=False)
        self._step("Drafted from pools: what stands between two marks is the work of one pass.")
        drafted = await self._written(request(subject))
        same = "the same, token for token" if drafted.tokens == plain.tokens else "NOT the same"
        self._say(f"    {same}; {plain.passes / drafted.passes:.1f} times fewer passes", "bold")
        self._step(
            f"Relaxed: a drafted token may be one of the {RULE.k} likeliest, if its probability is above {RULE.p}."
        )
        self._audit(await self._written(TextArguments(**request(subject), verification=RULE)), plain)

    async def newcomer(self, earlier: Subject, now: Subject) -> None:
        """A user of whom no text is known is told of, learned, and told of again with a longer list."""
        self._headline("A newcomer, of whom the pools know no text")
        before = await self._client.generate(**request(now))
        self._asked(earlier)
        self._step("Now with learn: the pools take the finished text in.")
        first = await self._written(TextArguments(**request(earlier), learn=True))
        waited = await self._learned(first.pools_version)
        if waited is None:
            self._say(f"    the pools have not learned it within {LEARNED_S:.0f} s", "bold red")
            return
        self._say(f"    learned {waited:.1f} s later", "bold")
        self._step('Then the customer buys on, and is told of anew; "entity" is the text just learned.')
        self._asked(now)
        after = await self._written(request(now))
        self._say(f"    asked before it was learned, this text took {before.passes} passes, now {after.passes}", "bold")

    async def _written(self, arguments: TextArguments, *, marked: bool = True) -> Text:
        flow = TextFlow(self._console, marked=marked)
        started = time.perf_counter()
        async with self._client.stream_text(**arguments) as events:
            async for event in events:
                if isinstance(event, TextPiece):
                    flow.grow(event.text)
                    continue
                flow.end()
                self._cost(event, (time.perf_counter() - started) * 1e3)
                return event
        raise AssertionError("a stream ends with its text, or raises")

    async def _learned(self, version: str) -> float | None:
        """Seconds until the pools had another version, as the answers tell it; None if they never did."""
        started = time.monotonic()
        while (waited := time.monotonic() - started) < LEARNED_S:
            asked = await self._client.generate(prompt="About", max_new_tokens=1, timeout_s=CALL_S)
            if asked.pools_version != version:
                return waited
            await asyncio.sleep(LOOK_S)
        return None

    def _audit(self, text: Text, plain: Text) -> None:
        if not text.relaxed:
            self._say("    no token was traded: the text is greedy decoding's", "bold")
            return
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for column in ("token", "written", "likeliest", "rank", "its q", "likeliest's q"):
            table.add_column(column, justify="left" if column in ("written", "likeliest") else "right")
        for each in text.relaxed[:TRADES]:
            words = (self._word(each.token), self._word(each.argmax))
            table.add_row(str(each.position), *words, str(each.rank), f"{each.q:.3f}", f"{each.q_max:.3f}")
        self._console.print(Padding(table, (0, 0, 0, 4)))
        more = len(text.relaxed) - TRADES
        rest = f", {more} of them not shown" if more > 0 else ""
        said = "the same words in the end" if text.text == plain.text else "other words than greedy decoding's"
        self._say(
            f"    audit: {len(text.relaxed)} traded{rest}; {by_the_rule(text)} within the rule; "
            f"{text.divergence:.2f} nats in all; {said}",
            "bold",
        )

    def _cost(self, text: Text, milliseconds: float) -> None:
        passes = f"{text.passes} passes of {text.tokens_per_pass:.1f} each"
        self._say(f"    {len(text.tokens)} tokens in {passes}, {milliseconds:.0f} ms", "dim")
        if text.tiers:
            tiers = ", ".join(f"{name} {tier.accepted} of {tier.drafted}" for name, tier in text.tiers.items())
            self._say(f"    accepted of drafted: {tiers}", "dim")
        if text.draft_note:
            self._say(f"    {text.draft_note}", "red")

    def _asked(self, subject: Subject) -> None:
        self._say(f"  {subject.prompt}", "italic")

    def _headline(self, title: str) -> None:
        self._console.print()
        self._say(title, "bold underline")

    def _step(self, what: str) -> None:
        self._say(f"  {what}", "cyan")

    def _say(self, what: str, style: str = "") -> None:
        indent = " " * (len(what) - len(what.lstrip()))
        width = min(self._console.width, WIDTH)
        self._console.print(fill(what, width, subsequent_indent=indent), style=style, markup=False, soft_wrap=True)
