"""What a caller may ask of a text, and the request made of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, SupportsIndex, TypedDict

from sidebeam.client._builder import Builder
from sidebeam.v1 import knowledge_pb2 as pb
from sidebeam.v1 import recommendation_pb2

_UINT64_MAX = 2**64 - 1

_VERIFICATIONS = {
    "exact": pb.TEXT_VERIFICATION_EXACT,
    "relaxed": pb.TEXT_VERIFICATION_RELAXED,
    "sampled": pb.TEXT_VERIFICATION_SAMPLED,
}
_DRAFT_MODES = {
    "auto": recommendation_pb2.DRAFT_MODE_AUTO,
    "off": recommendation_pb2.DRAFT_MODE_OFF,
    "explicit": recommendation_pb2.DRAFT_MODE_EXPLICIT,
}


@dataclass(frozen=True, slots=True)
class Relaxed:
    """Drafted tokens are accepted that are likely enough: fewer passes, other words here and there.

    Accepted is the most likely token, or one of the `k` likeliest with a probability above `p`. `keep_protected`: no
    digit and no structure is traded. `max_divergence` bounds the sum of log(q_max / q) over a text's relaxed tokens.
    """

    k: int = 2
    p: float = 0.1
    keep_protected: bool = False
    max_divergence: float | None = None


@dataclass(frozen=True, slots=True)
class Sampled:
    """Tokens are drawn in proportion to exp(logit / `temperature`), among the `top_k` most likely ones (None: all).

    The same `seed` draws the same text, whatever is drafted; None lets the sidecar take one.
    """

    temperature: float = 1.0
    top_k: int | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class TextDraft:
    """How a text is drafted: at most `rows` tokens for a pass, at most `depth` of them one after another.

    `mode` "explicit" drafts as much as there is, whether or not it pays. Changes no exact and no sampled text.
    """

    mode: Literal["auto", "explicit"] = "auto"
    rows: int | None = None
    depth: int | None = None


class TextArguments(TypedDict, total=False):
    """The keyword arguments of `generate` and `stream_text`. Exactly one of `prompt` and `tokens` is needed."""

    prompt: str | None
    """What the text follows."""
    tokens: Iterable[SupportsIndex] | None
    """The same as token ids of the bundle's tokenizer."""
    entity: str | int | None
    """Whose text it is: an earlier text of its own is the best draft there is."""
    group: str | None
    """Whose texts to draft from before all others; None for the entity's group, if the pools know one."""
    max_new_tokens: int | None
    """Most tokens to write; None for the bundle's default."""
    verification: Literal["exact", "relaxed", "sampled"] | Relaxed | Sampled
    """"exact" (unless given) for greedy decoding's text; a Relaxed or a Sampled says how exactly."""
    draft: Literal["auto", "off"] | TextDraft
    """Whether and how the text is drafted; "auto" unless given."""
    learn: bool
    """Let the pools learn the text, as its entity's; False unless given."""
    timeout_s: float | None
    """The call's deadline in seconds; None for the client's."""
    request_id: str | None
    """An id for the sidecar's logs; None for a random one."""


class TextRequestBuilder(Builder):
    """Fills one request for a text."""

    def __init__(self) -> None:
        super().__init__()
        self.request = pb.GenerateRequest()

    def context(self, prompt: str | None, tokens: Iterable[SupportsIndex] | None) -> None:
        """Set whatever of the two is given."""
        if prompt is not None and self._is_text("prompt", prompt):
            self.request.prompt = prompt
        if tokens is not None:
            self.request.tokens.SetInParent()
            self.request.tokens.token_ids.extend(self._token_ids(tokens))

    def subject(self, entity: str | int | None, group: str | None, learn: bool) -> None:
        """Set whose text it is."""
        name = str(entity) if isinstance(entity, int) else entity
        if name is not None and self._is_text("entity_id", name):
            self.request.entity_id = name
        if group is not None and self._is_text("group", group):
            self.request.group = group
        self.request.learn = bool(learn)

    def length(self, max_new_tokens: int | None) -> None:
        """Set how long it may be."""
        if max_new_tokens is not None and (number := self._uint32("max_new_tokens", max_new_tokens)) is not None:
            self.request.max_new_tokens = number

    def verification(self, wanted: str | Relaxed | Sampled) -> None:
        """Set which tokens may be accepted."""
        if isinstance(wanted, Relaxed):
            self._relaxed(wanted)
        elif isinstance(wanted, Sampled):
            self._sampled(wanted)
        else:
            kind = self._choice("verification", wanted, _VERIFICATIONS)
            self.request.verification = kind or pb.TEXT_VERIFICATION_UNSPECIFIED

    def draft(self, draft: str | TextDraft) -> None:
        """Set how the text is drafted."""
        settings = self.request.draft
        mode = draft.mode if isinstance(draft, TextDraft) else draft
        settings.mode = self._choice("draft.mode", mode, _DRAFT_MODES) or recommendation_pb2.DRAFT_MODE_UNSPECIFIED
        if isinstance(draft, TextDraft):
            if draft.rows is not None and (rows := self._uint32("draft.rows", draft.rows)) is not None:
                settings.rows = rows
            if draft.depth is not None and (depth := self._uint32("draft.depth", draft.depth)) is not None:
                settings.depth = depth

    def _relaxed(self, wanted: Relaxed) -> None:
        self.request.verification = pb.TEXT_VERIFICATION_RELAXED
        rule = self.request.relaxation
        rule.SetInParent()
        if (k := self._uint32("relaxation.k", wanted.k)) is not None:
            rule.k = k
        if (p := self._number("relaxation.p", wanted.p)) is not None:
            rule.p = p
        rule.keep_protected = bool(wanted.keep_protected)
        if wanted.max_divergence is not None:
            most = self._number("relaxation.max_divergence", wanted.max_divergence)
            if most is not None:
                rule.max_divergence = most

    def _sampled(self, wanted: Sampled) -> None:
        self.request.verification = pb.TEXT_VERIFICATION_SAMPLED
        draw = self.request.sampling
        draw.SetInParent()
        if (temperature := self._number("sampling.temperature", wanted.temperature)) is not None:
            draw.temperature = temperature
        if wanted.top_k is not None and (top_k := self._uint32("sampling.top_k", wanted.top_k)) is not None:
            draw.top_k = top_k
        if wanted.seed is not None and (seed := self._uint32("sampling.seed", wanted.seed, _UINT64_MAX)) is not None:
            draw.seed = seed

    def _number(self, field: str, value: float) -> float | None:
        if isinstance(value, int | float):
            return value
        self._refuse(field, f"{value!r} is not a number")
        return None
