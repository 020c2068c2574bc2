"""`sidebeam bench knowledge`: passes and time per text by what is drafted from, and proof that exact texts are."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sidebeam.bundle import Bundle
from sidebeam.knowledge.calibration import TIERS, Tier
from sidebeam.knowledge.pools import Pools
from sidebeam.knowledge.tokenizer import tokenizer_fingerprint
from sidebeam.knowledge.warm_up import warm_up
from sidebeam.texts import Drafting, Exact, Relaxed, TextResult, Verification
from sidebeam.writing.bench_report import Check, Row
from sidebeam.writing.bench_set import BenchSet
from sidebeam.writing.error import WritingError
from sidebeam.writing.greedy_baseline import GreedyBaseline
from sidebeam.writing.writer import Asked, Text, Writer

BLOCK = 2  # times as many texts as are written at once make a block: arms take turns by blocks


@dataclass(frozen=True, slots=True)
class ArmKind:
    """What is drafted from, and how it is verified. `own`: entities' own earlier texts are in the pools, too."""

    name: str
    tiers: tuple[Tier, ...]
    own: bool = False
    verification: Verification = field(default_factory=Exact)


def arm_kinds(rule: Relaxed) -> tuple[ArmKind, ...]:
    """From nothing to everything; the first is what the others are compared with."""
    return (
        ArmKind("none", ()),
        ArmKind("lookup", ("request",)),
        ArmKind("global", ("request", "global")),
        ArmKind("group", ("request", "group")),
        ArmKind("tiers", TIERS, own=True),
        ArmKind("relaxed", TIERS, own=True, verification=rule),
    )


@dataclass(slots=True)
class Arm:
    """One kind with an engine of its own, so that none learns from another, and what it has written."""

    kind: ArmKind
    writer: Writer
    results: dict[str, TextResult] = field(default_factory=dict)  # by entity
    ms: list[float] = field(default_factory=list)  # per text, of each block
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def write(self, asked: Sequence[Asked], at_once: int) -> dict[str, TextResult]:
        """The texts by entity. Raises `WritingError` for a prompt that the model cannot take."""
        wanted = (
            (each.entity or "", Asked(each.prompt, each.entity, each.group, self.kind.verification)) for each in asked
        )
        found: dict[str, TextResult] = {}
        for entity, answer in self.writer.write(wanted, at_once):
            if not isinstance(answer, Text):
                raise WritingError(f"entity {entity!r}: {answer.reason}")
            found[entity] = answer.result
        return found

    def measure(self, asked: Sequence[Asked], at_once: int) -> None:
        """Write them by the clock."""
        cpu, start = time.process_time(), time.perf_counter()
        self.results |= self.write(asked, at_once)
        seconds = time.perf_counter() - start
        self.cpu_seconds += time.process_time() - cpu
        self.seconds += seconds
        self.ms.append(seconds / len(asked) * 1e3)


class TextBench:
    """Arms take turns by texts or blocks of them, in an order drawn anew each time: noise hits all of them alike."""

    def __init__(self, bundle: Bundle, writer: Writer, rule: Relaxed, seed: int = 0) -> None:
        """`writer` brings the model; as many texts are written at once as it has slots, at most."""
        self._bundle = bundle
        self._writer = writer
        self._kinds = arm_kinds(rule)
        self._seed = seed
        warm_up()

    def run(self, sets: Sequence[BenchSet], at_once: Sequence[int], tell: Callable[[str], None]) -> Iterator[Row]:
        """Rows for each set and number of texts at once. Raises `WritingError` as arms do."""
        for asked in sets:
            with tempfile.TemporaryDirectory() as folder:
                pools = {own: asked.pools(self._bundle, Path(folder) / str(own), own=own) for own in (False, True)}
                for n in at_once:
                    yield from self._measured(asked, n, pools, tell)

    def check(self, sets: Sequence[BenchSet], texts: int, device: str, dtype: str) -> Check:
        """Whether some texts of each set, written without drafts, are those of transformers."""
        baseline = GreedyBaseline.load(self._bundle.target, self._writer.engine.vocabulary.ends, device, dtype)
        arm = Arm(self._kinds[0], self._arm_writer(self._kinds[0], None))
        identical, milliseconds = [], []
        for each in (each for asked in sets for each in asked.measured[:texts]):
            request = self._writer.request(each)
            start = time.perf_counter()
            wanted = baseline(request.prompt, request.max_new_tokens)
            milliseconds.append((time.perf_counter() - start) * 1e3)
            (written,) = arm.write([each], 1).values()
            identical.append(np.array_equal(written.tokens, wanted))
        return Check(len(identical), sum(identical), float(np.median(milliseconds)))

    def _measured(
        self, asked: BenchSet, at_once: int, pools: dict[bool, Path], tell: Callable[[str], None]
    ) -> Iterator[Row]:
        told = f"{asked.name}, {at_once} at once"
        arms = [Arm(kind, self._arm_writer(kind, pools[kind.own])) for kind in self._kinds]
        for arm in arms:
            tell(f"{told}: {arm.kind.name} writes for others first")
            arm.write(asked.served, at_once)
        size = 1 if at_once == 1 else BLOCK * at_once
        random = np.random.default_rng(self._seed)
        for start in range(0, len(asked.measured), size):
            tell(f"{told}: {start} of {len(asked.measured)} texts")
            for place in random.permutation(len(arms)).tolist():
                arms[place].measure(asked.measured[start : start + size], at_once)
        for arm in arms:
            yield row_of(asked, at_once, arm, arms[0])

    def _arm_writer(self, kind: ArmKind, pools: Path | None) -> Writer:
        """Without pools for those who draft from the request alone: so it is where nobody has any."""
        opened = None
        if pools is not None and set(kind.tiers) - {"request"}:
            opened = Pools.open(pools, tokenizer_fingerprint(self._bundle.tokenizer))
        return Writer(
            self._writer.engine.another(),
            self._writer.codec,
            max_new_tokens=self._writer.max_new_tokens,
            max_prompt_tokens=self._writer.max_prompt_tokens,
            pools=opened,
            drafting=Drafting("auto" if kind.tiers else "off"),
            draft_from=kind.tiers,
        )


def row_of(asked: BenchSet, at_once: int, arm: Arm, none: Arm) -> Row:
    """What an arm has measured, next to the one without drafts."""
    results, plain = list(arm.results.values()), [none.results[entity] for entity in arm.results]
    tokens, passes = sum(len(result.tokens) for result in results), sum(result.passes for result in results)
    plain_tokens = sum(len(result.tokens) for result in plain)
    earlier = [asked.earlier.get(entity, ()) for entity in arm.results]
    ms, plain_ms = float(np.median(arm.ms)), float(np.median(none.ms))
    return Row(
        prompts=asked.name,
        at_once=at_once,
        arm=arm.kind.name,
        is_exact=isinstance(arm.kind.verification, Exact),
        texts=len(results),
        tokens=tokens,
        tokens_per_pass=tokens / passes,
        rows_per_pass=sum(result.rows for result in results) / passes,
        ms=ms,
        ms_ratio=plain_ms / ms,
        tokens_per_s=tokens / arm.seconds,
        tokens_per_s_ratio=tokens / arm.seconds / (plain_tokens / none.seconds),
        cpu_ratio=tokens / arm.cpu_seconds / (plain_tokens / none.cpu_seconds),
        length_ratio=tokens / plain_tokens,
        identical=float(np.mean([np.array_equal(a.tokens, b.tokens) for a, b in zip(results, plain, strict=True)])),
        unchanged=float(np.mean([np.array_equal(a.tokens, b) for a, b in zip(results, earlier, strict=True)])),
        relaxed=sum(len(result.relaxed) for result in results) / tokens,
        divergence=sum(result.divergence for result in results) / len(results),
        accepted=_by_tier(results),
        host_ms=sum(result.host_ns for result in results) / passes / 1e6,
        pass_ms=sum(result.pass_ns for result in results) / passes / 1e6,
        audit_failures=audit_failures(results, arm.kind.verification),
    )


def audit_failures(results: Sequence[TextResult], rule: Verification) -> int:
    """Tokens that are not the most likely ones and that the rule does not allow."""
    tokens = [token for result in results for token in result.relaxed]
    if not isinstance(rule, Relaxed):
        return len(tokens)
    return sum(not (token.rank <= rule.k and token.q > rule.p) for token in tokens)


def _by_tier(results: Sequence[TextResult]) -> dict[str, tuple[int, int]]:
    counts = np.zeros((2, len(TIERS)), np.int64)
    for result in results:
        for sums, more in zip(counts, (result.accepted_by_tier, result.drafted_by_tier), strict=True):
            sums[: len(more)] += np.array(more, np.int64)
    return {tier: (yes, every) for tier, yes, every in zip(TIERS, *counts.tolist(), strict=True) if every}
