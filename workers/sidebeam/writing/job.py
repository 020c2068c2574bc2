"""Texts for a whole file of prompts, continued after any interruption where it stopped."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from sidebeam.bundle import Bundle
from sidebeam.bundle.bundle import Texts
from sidebeam.grouping import GroupingError, read_groups
from sidebeam.knowledge.error import KnowledgeError
from sidebeam.models import ModelError
from sidebeam.models.loading import DType
from sidebeam.texts import Drafting, Exact, Sampled, Verification
from sidebeam.texts.request import SEEDS
from sidebeam.training.progress import ProgressBar
from sidebeam.writing.codec import Codec
from sidebeam.writing.error import WritingError
from sidebeam.writing.prompt_list import Prompt, PromptList
from sidebeam.writing.tally import Tally
from sidebeam.writing.terms import terms_of
from sidebeam.writing.text_file import TextFile
from sidebeam.writing.writer import Asked, Failure, Text, Writer

COMMIT_S = 2.0  # learned texts wait that long for the pools at most: taking them in costs tens of milliseconds
NOTES = 10  # lines about the progress, for those who have no terminal


@dataclass(frozen=True, slots=True)
class WritingJob:
    """What to write with which model, and where to. None: what the bundle says.

    `batch` texts are in flight at once. What only decides how fast it goes may differ between a run and the one that
    continues it: `pools`, `groups`, `drafts`, `learn`, `batch`, `threads` and `device`. Relaxed texts depend on what
    was drafted, so on all of these, and on what was drafted with them in a pass. Raises `WritingError` for a number
    out of range.
    """

    bundle: Path
    prompts: Path
    out: Path
    pools: Path | None = None
    groups: Path | None = None
    verification: Verification = field(default_factory=Exact)
    max_new_tokens: int | None = None
    drafts: Literal["auto", "off"] = "auto"
    batch: int = 16
    threads: int | None = None
    device: str = "cpu"
    dtype: DType = "float32"
    learn: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "batch", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise WritingError(f"--{name.replace('_', '-')} must be at least 1; given {value}")

    def run(self, bar: ProgressBar) -> Tally:
        """Writes what is missing.

        Raises `WritingError` for unusable input and `OSError` for a full disk. Whole lines stay whatever happens, also
        on `KeyboardInterrupt`, for a run with `resume`.
        """
        try:
            bundle = Bundle.open(self.bundle)
            groups = {} if self.groups is None else read_groups(self.groups)
        except (OSError, GroupingError, ValueError) as error:  # BundleError is a ValueError
            raise WritingError(str(error)) from None
        most_new = self.max_new_tokens or (bundle.texts or Texts()).max_new_tokens
        with PromptList.open(self.prompts, groups) as prompts:
            terms = terms_of(bundle, prompts.sha256, self.verification, most_new, self.dtype)
            with TextFile(self.out, terms, prompts.entities, resume=self.resume) as file:
                pending = [prompt for prompt in prompts.prompts if prompt.entity not in file.done]
                if not pending:
                    return Tally((), kept=len(file.done))
                lengths = _lengths(prompts, pending, Codec.open(bundle.tokenizer), bar)
                with self._writer(bundle, most_new, max(1, *lengths.values())) as writer:
                    if writer.pools_problem:
                        bar.note(f"pools: {writer.pools_problem}; texts are drafted without them")
                    return self._write(writer, prompts, in_order(pending, lengths), file, bar)

    def _writer(self, bundle: Bundle, most_new: int, longest: int) -> Writer:
        try:
            return Writer.load(
                bundle,
                pools=self.pools,
                device=self.device,
                dtype=self.dtype,
                threads=self.threads,
                slots=self.batch,
                max_new_tokens=most_new,
                max_prompt_tokens=longest,
                drafting=Drafting(self.drafts),
                learn=self.learn,
            )
        except (ModelError, KnowledgeError) as error:
            raise WritingError(str(error)) from None

    def _write(
        self, writer: Writer, prompts: PromptList, pending: Sequence[Prompt], file: TextFile, bar: ProgressBar
    ) -> Tally:
        tally = Tally(writer.tiers, kept=len(file.done), pools_problem=writer.pools_problem)
        asked = ((prompt, self._asked(prompt, prompts)) for prompt in pending)
        learning = _Learning(writer)
        report = _Report(bar, len(file.done) + len(pending), len(file.done))
        started = time.monotonic()
        try:
            for prompt, answer in writer.write(asked):
                file.add(prompt.entity, line_of(answer))
                if isinstance(answer, Text):
                    tally.add(answer.result)
                else:
                    tally.failures += 1
                report()
                learning()
        finally:
            tally.seconds = time.monotonic() - started
            tally.learned = learning.end()
        if tally.learned and writer.pools is not None:
            writer.pools.compact()
        return tally

    def _asked(self, prompt: Prompt, prompts: PromptList) -> Asked:
        return Asked(
            prompts.text(prompt), prompt.entity, prompt.group, verification_for(self.verification, prompt.entity)
        )


class _Learning:
    """Lets the pools take in finished texts now and then."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._learned = 0
        self._at = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._at > COMMIT_S:
            self.end()

    def end(self) -> int:
        """All that is queued. Returns how many texts were learned in all."""
        self._learned += self._writer.commit()
        self._at = time.monotonic()
        return self._learned


class _Report:
    """Moves the bar, and writes a line at every tenth of the way."""

    def __init__(self, bar: ProgressBar, total: int, done: int) -> None:
        self._bar, self._total, self._done, self._first = bar, total, done, done
        self._started = time.monotonic()
        bar.begin("texts", total, done)

    def __call__(self) -> None:
        self._done += 1
        self._bar.advance(1, "texts/s")
        if self._done * NOTES // self._total == (self._done - 1) * NOTES // self._total:
            return
        rate = (self._done - self._first) / max(1e-9, time.monotonic() - self._started)
        minutes, seconds = divmod(round((self._total - self._done) / rate), 60)
        told = f"{self._done:,} of {self._total:,}, {rate:,.3g} texts/s, {minutes:,}:{seconds:02} min to go"
        self._bar.note(f"texts: {told}")


def in_order(prompts: Sequence[Prompt], lengths: Mapping[str, int]) -> list[Prompt]:
    """Groups after one another, so that their pools stay in the caches; in a group, alike lengths share passes."""
    return sorted(prompts, key=lambda prompt: (prompt.group or "", lengths[prompt.entity], prompt.start))


def verification_for(verification: Verification, entity: str) -> Verification:
    """A seed of the entity's own for sampled texts: what is drawn for it depends on nobody else."""
    if not isinstance(verification, Sampled):
        return verification
    digest = hashlib.sha256(f"{verification.seed}\0{entity}".encode()).digest()
    return replace(verification, seed=int.from_bytes(digest[:8], "little") % SEEDS)


def line_of(answer: Text | Failure) -> dict[str, Any]:
    """The fields of a line after its entity. Tokens, passes and the like are counts; the end token is one of them.

    `audit` lists every relaxed token: where it stands, what greedy decoding would have written there, and the odds.
    """
    if isinstance(answer, Failure):
        return {"error": answer.reason}
    result = answer.result
    fields: dict[str, Any] = {
        "text": answer.text,
        "tokens": len(result.tokens),
        "passes": result.passes,
        "stop": result.stop,
        "drafted": result.drafted,
        "accepted": result.accepted,
        "relaxed": len(result.relaxed),
    }
    if result.relaxed:
        fields["divergence"] = round(result.divergence, 6)
        fields["audit"] = [asdict(token) for token in result.relaxed]
    if result.draft_error is not None:
        fields["draft_error"] = result.draft_error
    return fields


def _lengths(prompts: PromptList, pending: Sequence[Prompt], codec: Codec, bar: ProgressBar) -> dict[str, int]:
    """Tokens of each prompt, by entity; 0 for one that cannot be encoded, which its line will say."""
    bar.begin("reading prompts", len(pending))
    lengths = {}
    for prompt in pending:
        try:
            lengths[prompt.entity] = len(codec.encode(prompts.text(prompt)))
        except WritingError:
            raise
        except ValueError:
            lengths[prompt.entity] = 0
        bar.advance(1, "prompts/s")
    return lengths
