"""What a caller may ask, and the request made of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, SupportsIndex, TypedDict

from sidebeam.client._builder import Builder
from sidebeam.v1 import recommendation_pb2 as pb

_SEARCHES = {"beam": pb.SEARCH_BEAM, "exact": pb.SEARCH_EXACT}
_ON_DEADLINE = {"fail": pb.ON_DEADLINE_FAIL, "best_so_far": pb.ON_DEADLINE_BEST_SO_FAR}
_DRAFT_MODES = {"auto": pb.DRAFT_MODE_AUTO, "off": pb.DRAFT_MODE_OFF}
_DRAFTERS = {"model": pb.DRAFTER_MODEL, "catalog": pb.DRAFTER_CATALOG}


@dataclass(frozen=True, slots=True)
class Draft:
    """Explicit draft settings; they change an answer's speed, never its items.

    `beams` is how wide the drafter searches (N), `length` how many levels it drafts for a pass (γ). `drafter` is
    "model" for the draft model or "catalog" for the catalog's trie.
    """

    beams: int | None = None
    length: int | None = None
    drafter: Literal["model", "catalog"] = "model"


@dataclass(frozen=True, slots=True)
class Sampling:
    """Relaxed verification: items are drawn, with the target model's own probabilities, instead of the best taken.

    At each depth K prefixes are drawn without replacement, in proportion to exp(log-prob / `temperature`), among the
    `top_k` most likely ones (None: all). The same `seed` draws the same items; None lets the sidecar take one.
    """

    temperature: float = 1.0
    top_k: int | None = None
    seed: int | None = None


class RequestArguments(TypedDict, total=False):
    """The keyword arguments of `recommend` and `stream`. Exactly one of `history`, `prompt`, `tokens` is needed."""

    history: Iterable[str | int] | None
    """Ids of the user's past items, oldest first."""
    prompt: str | None
    """A prompt in the caller's own words; the answer starts right after it."""
    tokens: Iterable[SupportsIndex] | None
    """A prompt as token ids of the bundle's tokenizer."""
    top_k: int | None
    """How many items to return; None for the bundle's default."""
    exclude: Iterable[str | int]
    """Ids of items that must not be returned."""
    draft: Literal["auto", "off"] | Draft
    """Whether and how the answer is drafted; "auto" unless given."""
    search: Literal["beam", "exact"]
    """"beam" (unless given) for beam search's answer, "exact" for the proven best items of the whole catalog."""
    sampling: Sampling | None
    """How items are drawn; None (unless given) for the best ones."""
    timeout_s: float | None
    """The call's deadline in seconds; None for the client's."""
    on_deadline: Literal["fail", "best_so_far"]
    """"fail" (unless given) for DeadlineExceeded, "best_so_far" for what is known just before the deadline."""
    request_id: str | None
    """An id for the sidecar's logs; None for a random one."""


class RequestBuilder(Builder):
    """Fills one request for items."""

    def __init__(self) -> None:
        super().__init__()
        self.request = pb.RecommendRequest()

    def context(
        self,
        history: Iterable[str | int] | None,
        prompt: str | None,
        tokens: Iterable[SupportsIndex] | None,
    ) -> None:
        """Set whatever of the three context kinds is given."""
        if history is not None:
            self.request.history.SetInParent()
            self.request.history.item_ids.extend(self._item_ids("history.item_ids", history))
        if prompt is not None and self._is_text("prompt", prompt):
            self.request.prompt = prompt
        if tokens is not None:
            self.request.tokens.SetInParent()
            self.request.tokens.token_ids.extend(self._token_ids(tokens))

    def answer(self, top_k: int | None, exclude: Iterable[str | int], search: str, on_deadline: str) -> None:
        """Set what the answer must be like."""
        if top_k is not None and (number := self._uint32("top_k", top_k)) is not None:
            self.request.top_k = number
        self.request.excluded_item_ids.extend(self._item_ids("excluded_item_ids", exclude))
        self.request.search = self._choice("search", search, _SEARCHES) or pb.SEARCH_UNSPECIFIED
        end = self._choice("on_deadline", on_deadline, _ON_DEADLINE)
        self.request.on_deadline = end or pb.ON_DEADLINE_UNSPECIFIED

    def sampling(self, sampling: Sampling | None) -> None:
        """Set how items are drawn, if they are."""
        if sampling is None:
            return
        self.request.verification = pb.VERIFICATION_RELAXED
        settings = self.request.sampling
        settings.SetInParent()
        if isinstance(sampling.temperature, int | float):
            settings.temperature = sampling.temperature
        else:
            self._refuse("sampling.temperature", f"{sampling.temperature!r} is not a number")
        if sampling.top_k is not None and (top_k := self._uint32("sampling.top_k", sampling.top_k)) is not None:
            settings.top_k = top_k
        if sampling.seed is not None and (seed := self._uint32("sampling.seed", sampling.seed)) is not None:
            settings.seed = seed

    def draft(self, draft: str | Draft) -> None:
        """Set how the answer is drafted."""
        settings = self.request.draft
        if not isinstance(draft, Draft):
            settings.mode = self._choice("draft.mode", draft, _DRAFT_MODES) or pb.DRAFT_MODE_UNSPECIFIED
            return
        settings.mode = pb.DRAFT_MODE_EXPLICIT
        settings.drafter = self._choice("draft.drafter", draft.drafter, _DRAFTERS) or pb.DRAFTER_UNSPECIFIED
        if draft.beams is not None and (beams := self._uint32("draft.beams", draft.beams)) is not None:
            settings.beams = beams
        if draft.length is not None and (length := self._uint32("draft.length", draft.length)) is not None:
            settings.length = length
