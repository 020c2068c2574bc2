"""`sidebeam bench index`: the suffix index by pool size, next to a dictionary trie; one thread."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.calibration import GLOBAL, GROUP, prior_weights
from sidebeam.knowledge.deleted import NOTHING
from sidebeam.knowledge.draft import ABOVE, TextDraft
from sidebeam.knowledge.pool_file import read_segment, write_segment
from sidebeam.knowledge.reference_trie import ReferenceTrie
from sidebeam.knowledge.segment import Segment
from sidebeam.knowledge.session import Indexes, Session
from sidebeam.knowledge.warm_up import warm_up

Ints = npt.NDArray[np.int32]

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
TRIE_LIMIT = 100_000  # tokens; it takes some kilobytes for each
NODES, DEPTH = 63, 32  # of a draft
PROMPT = 24  # tokens of a text that are given
PASSES = 5  # over all drafts
GROUP_SHARE = 8  # one text in so many is in the group's pool
TRIE_DRAFTS, TRIE_S = 1000, 60.0  # drafts of the trie, and seconds after which there are no more of them
LARGE = 10_000_000  # tokens from which on the goals hold


class Source(Protocol):
    """Where texts come from."""

    def texts(self, tokens: int, seed: int) -> list[Ints]:
        """Texts of that many tokens in all, or a few more; others for another seed."""


@dataclass(frozen=True, slots=True)
class Row:
    """Of one pool size. Times of drafts in microseconds.

    `quiet` times are each draft's least over `PASSES` runs through all of them: what a machine without other work
    would show. Thousands of other drafts come between two runs of one, so that caches hold no more of it than they
    would. `tiers`: a group pool of an eighth of the texts, the entity's own text and the request's beside the global
    pool. `tokens_per_draft` counts the accepted path and the token after it.
    """

    tokens: int
    build_per_s: float  # tokens, per second of one core
    build_s: float  # by the clock
    bytes_per_token: float
    open_ms: float  # map the file and check all of it
    extend_us: float  # per token, the least of all runs; called with what was accepted
    tiers_extend_us: float
    p50: float
    p99: float
    quiet_p50: float
    quiet_p99: float
    tiers_quiet_p50: float
    tiers_quiet_p99: float
    tokens_per_draft: float
    drafts: int
    trie_build_per_s: float | None
    trie_bytes_per_token: float | None  # of the process's memory
    trie_p50: float | None
    trie_p99: float | None
    trie_tokens_per_draft: float | None


def measure(
    source: Source,
    sizes: Sequence[int] = SIZES,
    trie_limit: int = TRIE_LIMIT,
    drafts: int = 3000,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Row]:
    """One row per pool size, as it is measured."""
    warm_up()
    tell("texts")
    asked = source.texts(drafts * 40, seed=1)
    for size in sizes:
        tell(f"{size:,} tokens: texts")
        texts = source.texts(size, seed=2)
        tell(f"{size:,} tokens: index")
        yield _measure(texts, asked, drafts, trie_limit, tell)


def report(rows: Sequence[Row]) -> str:
    """The table for a terminal."""
    lines = [
        f"{'tokens':>11} {'build/s':>10} {'bytes/tok':>9} {'open ms':>8} {'extend us':>9} {'p50 us':>7} {'p99 us':>8} "
        f"{'quiet p50':>9} {'quiet p99':>9} {'tok/draft':>9} {'all tiers: extend':>17} {'p50':>6} {'p99':>6} "
        f"{'trie: build/s':>13} {'bytes/tok':>9} {'p50':>9} {'p99':>9} {'tok/draft':>9}"
    ]
    lines += [
        f"{row.tokens:>11,} {row.build_per_s:>10,.0f} {row.bytes_per_token:>9.1f} {row.open_ms:>8.1f} "
        f"{row.extend_us:>9.2f} {row.p50:>7.1f} {row.p99:>8.1f} {row.quiet_p50:>9.1f} {row.quiet_p99:>9.1f} "
        f"{row.tokens_per_draft:>9.2f} {row.tiers_extend_us:>17.2f} {row.tiers_quiet_p50:>6.1f} "
        f"{row.tiers_quiet_p99:>6.1f} {_shown(row.trie_build_per_s, 0):>13} {_shown(row.trie_bytes_per_token, 0):>9} "
        f"{_shown(row.trie_p50):>9} {_shown(row.trie_p99):>9} {_shown(row.trie_tokens_per_draft, 2):>9}"
        for row in rows
    ]
    lines.append(
        f"drafts of up to {NODES} nodes, {DEPTH} deep; the trie's {NODES} nodes, 13 deep; times in microseconds"
    )
    return "\n".join([*lines, *goals(rows)])


def goals(rows: Sequence[Row]) -> list[str]:
    """What the largest pool is measured against; nothing for pools too small for that."""
    row = max(rows, key=lambda each: each.tokens)
    if row.tokens < LARGE:
        return []
    judged = (
        ("draft p99, one pool, at most 50 us", row.quiet_p99, row.quiet_p99 <= 50),
        ("draft p99, all tiers, at most 50 us", row.tiers_quiet_p99, row.tiers_quiet_p99 <= 50),
        ("extend, all tiers, at most 2 us per token", row.tiers_extend_us, row.tiers_extend_us <= 2),
        ("index, at most 40 bytes per token", row.bytes_per_token, row.bytes_per_token <= 40),
        ("build, at least 1,000,000 tokens/s per core", row.build_per_s, row.build_per_s >= 1e6),
    )
    return [f"goal: {goal}: {value:,.1f}, {'met' if met else 'MISSED'}" for goal, value, met in judged]


def as_json(rows: Sequence[Row]) -> list[dict[str, float | None]]:
    """The same as plain values."""
    return [asdict(row) for row in rows]


def _measure(texts: list[Ints], asked: list[Ints], drafts: int, trie_limit: int, tell: Callable[[str], None]) -> Row:
    by_entity = {str(number): text for number, text in enumerate(texts)}
    start, began = time.thread_time(), time.perf_counter()
    built = Segment.build(by_entity)
    built_s, clock_s = time.thread_time() - start, time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "global.pool"
        write_segment(path, built, "bench")
        size = path.stat().st_size
        tokens = built.n_tokens
        del built
        start = time.perf_counter()
        segment = read_segment(path, "bench")
        open_ms = (time.perf_counter() - start) * 1e3
        tell(f"{tokens:,} tokens: drafts")
        alone = Indexes.of([(segment.index, NOTHING, GLOBAL)])
        times, said, extend_us = _play(asked, alone, drafts, None)
        group = Segment.build(dict(list(by_entity.items())[::GROUP_SHARE]))
        tiers = Indexes.of([(group.index, NOTHING, GROUP), (segment.index, NOTHING, GLOBAL)])
        tiers_times, _, tiers_extend_us = _play(asked, tiers, drafts, texts)
    trie = None
    if tokens <= 1.1 * trie_limit:
        tell(f"{tokens:,} tokens: trie")
        trie = _play_trie(texts, asked, drafts)
    quiet, tiers_quiet = times.min(0), tiers_times.min(0)
    return Row(
        tokens=tokens,
        build_per_s=tokens / built_s,
        build_s=clock_s,
        bytes_per_token=size / tokens,
        open_ms=open_ms,
        extend_us=extend_us,
        tiers_extend_us=tiers_extend_us,
        p50=float(np.percentile(times, 50)),
        p99=float(np.percentile(times, 99)),
        quiet_p50=float(np.percentile(quiet, 50)),
        quiet_p99=float(np.percentile(quiet, 99)),
        tiers_quiet_p50=float(np.percentile(tiers_quiet, 50)),
        tiers_quiet_p99=float(np.percentile(tiers_quiet, 99)),
        tokens_per_draft=said,
        drafts=times.shape[1],
        trie_build_per_s=trie and trie[0],
        trie_bytes_per_token=trie and trie[1],
        trie_p50=trie and trie[2],
        trie_p99=trie and trie[3],
        trie_tokens_per_draft=trie and trie[4],
    )


def _play(
    asked: list[Ints], indexes: Indexes, drafts: int, earlier: list[Ints] | None
) -> tuple[npt.NDArray[np.float64], float, float]:
    """Times in microseconds [PASSES, drafts], tokens per draft, microseconds of extending per token."""
    weights = prior_weights()
    times: list[list[float]] = []
    extends: list[list[float]] = []
    said = 0
    for _ in range(PASSES):
        now: list[float] = []
        extending: list[float] = []
        for number, text in enumerate(asked):
            if len(now) >= drafts:
                break
            session = Session(text[:PROMPT], indexes, weights, earlier[number % len(earlier)] if earlier else ())
            at = PROMPT
            while at < len(text):
                start = time.perf_counter()
                draft = session.draft(NODES, DEPTH)
                now.append((time.perf_counter() - start) * 1e6)
                accepted = _accepted(draft, text[at:].tolist())
                added = text[at : at + accepted + 1].tolist()
                start = time.perf_counter()
                session.extend(added)
                extending.append((time.perf_counter() - start) * 1e6)
                at, said = at + len(added), said + len(added)
            session.close()
        times.append(now)
        extends.append(extending)
    quiet = np.array(extends).min(0).sum()
    return np.array(times), said / sum(map(len, times)), float(quiet * PASSES / said)


def _accepted(draft: TextDraft, follows: list[int]) -> int:
    """Tokens of the text that the draft foresaw."""
    children = {
        (parent, token): node
        for node, (parent, token) in enumerate(zip(draft.parents.tolist(), draft.tokens.tolist(), strict=True))
    }
    node, count = ABOVE, 0
    for token in follows:
        if (node, token) not in children:
            break
        node, count = children[node, token], count + 1
    return count


def _play_trie(texts: list[Ints], asked: list[Ints], drafts: int) -> tuple[float, float | None, float, float, float]:
    """Tokens per second of building, bytes per token, median and 99th percentile of a draft, tokens per draft."""
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 10_000))
    plain = [text.tolist() for text in texts]
    tokens, before = sum(map(len, plain)), _resident()
    start = time.perf_counter()
    trie = ReferenceTrie(plain)
    per_s = tokens / (time.perf_counter() - start)
    after = _resident()
    times: list[float] = []
    said, begun = 0, time.perf_counter()
    for text in asked:
        told, at = text.tolist(), PROMPT
        while at < len(told) and len(times) < min(drafts, TRIE_DRAFTS) and time.perf_counter() < begun + TRIE_S:
            start = time.perf_counter()
            found = trie.draft(told[:at][-2:], NODES)
            times.append((time.perf_counter() - start) * 1e6)
            accepted = _foreseen(found, told[at:])
            at, said = at + accepted + 1, said + accepted + 1
    grown = None if before is None or after is None else (after - before) / tokens
    return per_s, grown, float(np.percentile(times, 50)), float(np.percentile(times, 99)), said / len(times)


def _resident() -> int | None:
    """Bytes of memory that the process has, if the system says so."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _foreseen(found: list[tuple[int, int]], follows: list[int]) -> int:
    """The same as `_accepted` for nodes given depth first."""
    count = 0
    for depth, token in found:
        if depth <= count:  # the accepted path's subtree is over
            break
        if depth == count + 1 and count < len(follows) and token == follows[count]:
            count += 1
    return count


def _shown(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
