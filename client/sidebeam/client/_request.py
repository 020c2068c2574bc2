"""What a caller may ask, and the request made of it."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, SupportsIndex, TypedDict, TypeVar

from sidebeam.client._errors import InvalidRequest, Violation
from sidebeam.v1 import recommendation_pb2 as pb

T = TypeVar("T")

# What a protobuf uint32 can carry; the sidecar's own limits are lower, and its errors name them.
_UINT32_MAX = 2**32 - 1

_REQUEST_ID_MAX_CHARS = 128

_SEARCHES = {"beam": pb.SEARCH_BEAM, "exact": pb.SEARCH_EXACT}
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
    request_id: str | None
    """An id for the sidecar's logs; None for a random one."""


class RequestBuilder:
    """Fills one request and collects everything about it that the wire cannot carry.

    What the wire can carry is the sidecar's to judge: only it knows the catalog and the limits.
    """

    def __init__(self) -> None:
        self.request = pb.RecommendRequest()
        self._violations: list[Violation] = []

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
            for index, token in enumerate(tokens):
                number = self._uint32(f"tokens.token_ids[{index}]", token)
                if number is not None:
                    self.request.tokens.token_ids.append(number)

    def answer(self, top_k: int | None, exclude: Iterable[str | int], search: str) -> None:
        """Set what the answer must be like."""
        if top_k is not None and (number := self._uint32("top_k", top_k)) is not None:
            self.request.top_k = number
        self.request.excluded_item_ids.extend(self._item_ids("excluded_item_ids", exclude))
        self.request.search = self._choice("search", search, _SEARCHES) or pb.SEARCH_UNSPECIFIED

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

    def call(self, timeout_s: float, request_id: str) -> None:
        """Check what travels beside the request."""
        if not (timeout_s > 0 and math.isfinite(timeout_s)):
            self._refuse("timeout_s", f"{timeout_s!r} is not a positive number of seconds")
        if not (0 < len(request_id) <= _REQUEST_ID_MAX_CHARS and request_id.isascii() and request_id.isprintable()):
            limit = f"1 to {_REQUEST_ID_MAX_CHARS} printable ASCII characters"
            self._refuse("request_id", f"{request_id!r} is not {limit}")
        elif request_id != request_id.strip():  # HTTP/2 drops the spaces around a header's value
            self._refuse("request_id", f"{request_id!r} begins or ends with a space")

    def check(self, request_id: str) -> None:
        """Raise InvalidRequest, with every violation found, if there is any."""
        if self._violations:
            message = "; ".join(map(str, self._violations))
            raise InvalidRequest(message, request_id=request_id, violations=self._violations)

    def _refuse(self, field: str, description: str) -> None:
        self._violations.append(Violation(field, description))

    def _item_ids(self, field: str, ids: Iterable[str | int]) -> list[str]:
        if isinstance(ids, str | bytes):
            self._refuse(field, f"{ids!r} is one string; give a sequence of item ids")
            return []
        texts = [each if isinstance(each, str) else str(each) for each in ids]
        return [text for index, text in enumerate(texts) if self._is_text(f"{field}[{index}]", text)]

    def _is_text(self, field: str, text: str) -> bool:
        if not isinstance(text, str):
            self._refuse(field, f"{text!r} is not text")
            return False
        try:
            text.encode()
        except UnicodeEncodeError as error:
            self._refuse(field, f"character {error.start} ({text[error.start]!r}) is half a surrogate pair")
            return False
        return True

    def _uint32(self, field: str, value: SupportsIndex) -> int | None:
        try:
            number = operator.index(value)
        except TypeError:
            self._refuse(field, f"{value!r} is not a whole number")
            return None
        if not 0 <= number <= _UINT32_MAX:
            self._refuse(field, f"{number} is not within 0 to {_UINT32_MAX}")
            return None
        return number

    def _choice(self, field: str, word: str, words: dict[str, T]) -> T | None:
        if word not in words:
            self._refuse(field, f"{word!r} is not one of {', '.join(words)}")
        return words.get(word)
