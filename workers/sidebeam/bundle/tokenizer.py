"""The bundle's tokenizer without transformers, so that the front server stays small."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as FastTokenizer

TOKENIZER_FILE = "tokenizer.json"


def read_fast(path: Path) -> Any:
    """The `tokenizers.Tokenizer` of a file, which neither cuts nor pads. Raises ValueError if it holds none."""
    try:
        fast = FastTokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise ValueError(str(error)) from error
    fast.no_truncation()
    fast.no_padding()
    return fast


class Tokenizer:
    """Text to token ids and back, from the `tokenizer.json` that transformers saves with every fast tokenizer."""

    def __init__(self, fast: Any) -> None:
        self._fast = fast

    @classmethod
    def open(cls, folder: Path) -> Tokenizer:
        """Raises FileNotFoundError without a `tokenizer.json`, ValueError if it is not one."""
        path = folder / TOKENIZER_FILE
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing")
        try:
            return cls(read_fast(path))
        except ValueError as error:
            raise ValueError(f"{path} is not a tokenizer: {error}") from error

    def encode(self, text: str) -> list[int]:
        """Token ids, with the special tokens that the tokenizer's post-processor adds."""
        ids: list[int] = self._fast.encode(text).ids
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids, without special tokens."""
        text: str = self._fast.decode(list(tokens), skip_special_tokens=True)
        return text

    def token_id(self, token: str) -> int | None:
        """Id of one token, None if the vocabulary lacks it."""
        found: int | None = self._fast.token_to_id(token)
        return found

    def token(self, token_id: int) -> str:
        """One token as the vocabulary spells it; raises KeyError for an id outside it."""
        token: str | None = self._fast.id_to_token(token_id)
        if token is None:
            raise KeyError(token_id)
        return token

    @property
    def vocab_size(self) -> int:
        """Tokens in the vocabulary, added ones included."""
        size: int = self._fast.get_vocab_size(with_added_tokens=True)
        return size
