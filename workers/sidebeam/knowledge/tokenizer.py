"""The tokenizer as pools need it: no special tokens, the one that ends a text, and a fingerprint."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from sidebeam.bundle.tokenizer import TOKENIZER_FILE, read_fast
from sidebeam.knowledge.error import KnowledgeError


def tokenizer_fingerprint(folder: Path) -> str:
    """Of the vocabulary and all rules. Raises `KnowledgeError` if the folder has no `tokenizer.json`."""
    path = folder / TOKENIZER_FILE
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise KnowledgeError(f"{path}: cannot be read: {error.strerror}") from None


def end_token(folder: Path) -> int | None:
    """The token after which the model says no more, as the folder's files tell it; None if they do not."""
    for name in ("generation_config.json", "config.json"):
        given = _read(folder / name).get("eos_token_id")
        if isinstance(given, list) and given:
            given = given[0]
        if isinstance(given, int):
            return given
    token = _read(folder / "tokenizer_config.json").get("eos_token")
    if isinstance(token, dict):
        token = token.get("content")
    return TextTokenizer.open(folder).token_id(token) if isinstance(token, str) else None


class TextTokenizer:
    """Texts to the tokens that a model would have generated for them."""

    def __init__(self, fast: Any) -> None:
        self._fast = fast

    @classmethod
    def open(cls, folder: Path) -> TextTokenizer:
        """Raises `KnowledgeError` if the folder has no usable `tokenizer.json`."""
        path = folder / TOKENIZER_FILE
        try:
            return cls(read_fast(path))
        except ValueError as error:
            raise KnowledgeError(f"{path}: not a tokenizer: {error}") from None

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text."""
        return [encoding.ids for encoding in self._fast.encode_batch(texts, add_special_tokens=False)]

    def token_id(self, token: str) -> int | None:
        """Id of one token, None if the vocabulary lacks it."""
        found: int | None = self._fast.token_to_id(token)
        return found


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return raw if isinstance(raw, dict) else {}
