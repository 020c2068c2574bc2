"""The whole job in one process: prompts in, texts out, drafted from pools of earlier ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from sidebeam.bundle import Bundle
from sidebeam.bundle.bundle import Texts
from sidebeam.engine.loading import SLOTS
from sidebeam.knowledge.calibration import TIERS, Tier
from sidebeam.knowledge.error import KnowledgeError
from sidebeam.knowledge.pools import Pools
from sidebeam.knowledge.tokenizer import end_token, tokenizer_fingerprint
from sidebeam.knowledge.warm_up import warm_up
from sidebeam.models import KVSlots, ModelError, PackedModel, load_model
from sidebeam.models.loading import DType
from sidebeam.texts import (
    Drafting,
    Exact,
    PromptLookup,
    TextDrafter,
    TextEngine,
    TextRequest,
    TextResult,
    TextTicket,
    Verification,
    Vocabulary,
)
from sidebeam.texts.engine import PASS_ROWS
from sidebeam.texts.request import MOST_ROWS
from sidebeam.training.error import first_line
from sidebeam.writing.codec import Codec
from sidebeam.writing.error import WritingError
from sidebeam.writing.pool_drafter import PoolDrafter

Ints = npt.NDArray[np.int64]
Key = TypeVar("Key")

MAX_PROMPT_TOKENS = 1024  # where the model allows it, and nobody asks for more
NO_TOKEN = np.zeros(1, np.int64)  # an alphabet, for a model of which whole rows of logits are wanted


@dataclass(frozen=True, slots=True)
class Asked:
    """One text that is wanted. `prompt` is text, or token ids [P]; None: as the writer does it."""

    prompt: str | Ints
    entity: str | None = None
    group: str | None = None
    verification: Verification = field(default_factory=Exact)
    max_new_tokens: int | None = None
    drafting: Drafting | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A text, and what it cost; `result.tokens` hold its end token, too."""

    text: str
    result: TextResult


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no text."""

    reason: str


class Writer:
    """Writes texts with one model; drafts come from pools, and from the text itself where there are none.

    Not thread-safe: one thread requests, steps the engine and finishes. `pools_problem` says why the pools that were
    named are not used; "" if nothing is wrong. Tiers are numbered as `tiers` names them.
    """

    tiers: tuple[str, ...] = TIERS

    def __init__(
        self,
        engine: TextEngine,
        codec: Codec,
        *,
        max_new_tokens: int,
        max_prompt_tokens: int | None = None,
        pools: Pools | None = None,
        pools_problem: str = "",
        drafting: Drafting | None = None,
        learn: bool = False,
        draft_from: Collection[Tier] = TIERS,
    ) -> None:
        """`drafting` is for those who do not say. `learn` queues finished texts for the pools; `commit` writes them.

        With pools, drafts come from the tiers `draft_from`.
        """
        self.engine = engine
        self.codec = codec
        self.max_new_tokens = max_new_tokens
        self.max_prompt_tokens = min(max_prompt_tokens or engine.longest, engine.longest - 1)
        self.pools = pools
        self.pools_problem = pools_problem
        self.drafting = drafting or Drafting()
        self.learn = learn
        self.draft_from = draft_from

    @classmethod
    def load(
        cls,
        bundle: Bundle,
        *,
        pools: Path | None = None,
        device: str = "cpu",
        dtype: DType = "float32",
        threads: int | None = None,
        slots: int = SLOTS,
        max_new_tokens: int | None = None,
        max_prompt_tokens: int | None = None,
        drafting: Drafting | None = None,
        learn: bool = False,
        max_memory: Mapping[int | str, int | str] | None = None,
        offload_folder: Path | None = None,
    ) -> Self:
        """Load a bundle's target, open its pools and warm both up. None: what the bundle says.

        A slot holds the longest prompt that is taken, the longest text, and a draft; so the limits decide the memory.
        Pools that cannot be read, or hold nothing, are left out and `pools_problem` tells why; with `learn` they are
        made where there are none, and must be usable. Raises `ModelError` for a target that cannot be loaded,
        `WritingError` for a device, a tokenizer or a limit that cannot be used.
        """
        texts = bundle.texts or Texts()
        most_new = texts.max_new_tokens if max_new_tokens is None else max_new_tokens
        _check_limits(slots=slots, max_new_tokens=most_new, max_prompt_tokens=max_prompt_tokens)
        _use_device(device, threads)
        codec = Codec.open(bundle.tokenizer)
        folder = pools or texts.pools
        opened, problem = _open_pools(bundle, folder, learn, drafting or Drafting())
        try:
            model = load_model(
                bundle.target, device=device, dtype=dtype, max_memory=max_memory, offload_folder=offload_folder
            )
            positions = int(model.config.max_position_embeddings)
            most_prompt = min(max_prompt_tokens or MAX_PROMPT_TOKENS, positions - 1)
            cells = min(positions, most_prompt + most_new) + MOST_ROWS
            packed = PackedModel(model, KVSlots(slots, cells), NO_TOKEN, normalise=True)
            engine = TextEngine(packed, vocabulary_of(model, bundle, codec), pass_rows=max(PASS_ROWS, slots))
            engine.warm_up()
            if learn and folder is not None and opened is None:  # only now, so that no error leaves empty ones
                opened = _new_pools(bundle, folder)
            if opened is not None:
                warm_up()
        except BaseException:
            if opened is not None:
                opened.close()
            raise
        return cls(
            engine,
            codec,
            max_new_tokens=most_new,
            max_prompt_tokens=most_prompt,
            pools=opened,
            pools_problem=problem,
            drafting=drafting,
            learn=learn,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process write to the pools; what was learned and not committed is dropped."""
        if self.pools is not None:
            self.pools.close()

    def request(self, asked: Asked) -> TextRequest:
        """As the engine wants it. Raises ValueError for a prompt or a length that the model cannot take."""
        prompt = self.codec.encode(asked.prompt) if isinstance(asked.prompt, str) else asked.prompt
        if not 1 <= len(prompt) <= self.max_prompt_tokens:
            raise ValueError(f"prompt must be 1 to {self.max_prompt_tokens} tokens; given {len(prompt)}")
        most = self.max_new_tokens if asked.max_new_tokens is None else asked.max_new_tokens
        if not 1 <= most <= self.max_new_tokens:
            raise ValueError(f"max_new_tokens must be 1 to {self.max_new_tokens}; given {most}")
        return TextRequest(prompt, most, asked.verification, self._drafter(asked), asked.drafting or self.drafting)

    def finish(self, request: TextRequest, result: TextResult) -> Text:
        """What the engine said in the end, as text; the pools are told."""
        if isinstance(request.drafter, PoolDrafter):
            request.drafter.finish(result.tokens)
        return Text(self.codec.decode(result.tokens, self.engine.vocabulary.ends), result)

    def write(
        self, texts: Iterable[tuple[Key, Asked]], at_once: int | None = None
    ) -> Iterator[tuple[Key, Text | Failure]]:
        """All texts, each as soon as it is done; `at_once` are in flight, None: as many as there are slots.

        Whoever stops listening leaves nothing open.
        """
        waiting = iter(texts)
        flying: dict[TextTicket, Key] = {}
        most = at_once or self.engine.max_open
        try:
            while True:
                while len(flying) < most and (following := next(waiting, None)) is not None:
                    key, asked = following
                    try:
                        ticket = self.engine.open(self.request(asked))
                    except ValueError as error:
                        yield key, Failure(str(error))
                    else:
                        flying[ticket] = key
                if not flying:
                    return
                for ticket, event in self.engine.step():
                    if isinstance(event, TextResult):
                        yield flying.pop(ticket), self.finish(ticket.request, event)
        finally:
            for ticket in flying:
                self.engine.cancel(ticket)

    def commit(self) -> int:
        """Write what was learned, so that later texts are drafted from it. Returns how many texts that were.

        Raises `OSError` for a full disk; everything stays queued then.
        """
        return self.pools.commit() if self.pools is not None and self.learn else 0

    def _drafter(self, asked: Asked) -> TextDrafter | None:
        drafts = (asked.drafting or self.drafting).mode != "off"
        if self.pools is None:
            return PromptLookup() if drafts else None
        if not drafts and not self.learn:
            return None
        return PoolDrafter(self.pools, asked.entity, asked.group, tiers=self.draft_from, learn=self.learn)


def _open_pools(bundle: Bundle, folder: Path | None, learn: bool, drafting: Drafting) -> tuple[Pools | None, str]:
    """The pools, if there are any yet and they are wanted, and what is wrong with them."""
    if folder is None and learn:
        raise WritingError("there are no pools that could learn")
    if folder is None or (drafting.mode == "off" and not learn) or (learn and not folder.exists()):
        return None, ""
    try:
        pools = Pools.open(folder, tokenizer_fingerprint(bundle.tokenizer), write=learn)
    except (KnowledgeError, OSError) as error:
        if learn:
            raise WritingError(f"the pools cannot learn: {error}") from None
        return None, str(error)
    if pools.n_texts or learn:
        return pools, ""
    pools.close()
    return None, f"{folder}: holds no texts"


def _new_pools(bundle: Bundle, folder: Path) -> Pools:
    try:
        return Pools.create(folder, tokenizer_fingerprint(bundle.tokenizer), end_token(bundle.target))
    except (KnowledgeError, OSError) as error:
        raise WritingError(f"the pools cannot be made: {error}") from None


def vocabulary_of(model: Any, bundle: Bundle, codec: Codec) -> Vocabulary:
    """Which tokens end a text, as the model's folder tells. Raises `ModelError` if it names one that is not there."""
    ends = getattr(model.generation_config, "eos_token_id", None)
    if ends is None:
        ends = getattr(model.config, "eos_token_id", None)
    if ends is None:
        ends = end_token(bundle.target)
    ids = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    try:
        return Vocabulary.of(codec.fast, int(model.config.vocab_size), ids)
    except ValueError as error:
        raise ModelError(f"{bundle.target.name}: {error}") from None


def _check_limits(**limits: int | None) -> None:
    for name, value in limits.items():
        if value is not None and value < 1:
            raise WritingError(f"{name} must be at least 1; given {value}")


def _use_device(device: str, threads: int | None) -> None:
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter is what a torch without CUDA raises
        raise WritingError(f"device {device} cannot be used: {first_line(error)}") from None
