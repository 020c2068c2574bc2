"""What every request is checked for before it is sent."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import SupportsIndex, TypeVar

from sidebeam.client._errors import InvalidRequest, Violation

T = TypeVar("T")

# What a protobuf uint32 can carry; the sidecar's own limits are lower, and its errors name them.
_UINT32_MAX = 2**32 - 1

_REQUEST_ID_MAX_CHARS = 128


class Builder:
    """Collects everything about a request that the wire cannot carry.

    What the wire can carry is the sidecar's to judge: only it knows its bundle and the limits.
    """

    def __init__(self) -> None:
        self._violations: list[Violation] = []

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

    def _token_ids(self, tokens: Iterable[SupportsIndex]) -> list[int]:
        numbers = (self._uint32(f"tokens.token_ids[{index}]", token) for index, token in enumerate(tokens))
        return [number for number in numbers if number is not None]

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

    def _uint32(self, field: str, value: SupportsIndex, most: int = _UINT32_MAX) -> int | None:
        try:
            number = operator.index(value)
        except TypeError:
            self._refuse(field, f"{value!r} is not a whole number")
            return None
        if not 0 <= number <= most:
            self._refuse(field, f"{number} is not within 0 to {most}")
            return None
        return number

    def _choice(self, field: str, word: str, words: dict[str, T]) -> T | None:
        if word not in words:
            self._refuse(field, f"{word!r} is not one of {', '.join(words)}")
        return words.get(word)
