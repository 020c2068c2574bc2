"""Prompts to tokens, and tokens to texts."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sidebeam.bundle.tokenizer import TOKENIZER_FILE, read_fast
from sidebeam.writing.error import WritingError

Ints = npt.NDArray[np.int64]


class Codec:
    """The tokenizer that transformers saved beside the target."""

    def __init__(self, fast: Any) -> None:
        """`fast` is a `tokenizers.Tokenizer`."""
        self.fast = fast

    @classmethod
    def open(cls, folder: Path) -> Codec:
        """Raises `WritingError` if the folder has no usable `tokenizer.json`."""
        path = folder / TOKENIZER_FILE
        try:
            return cls(read_fast(path))
        except ValueError as error:
            raise WritingError(f"{path}: not a tokenizer: {error}") from None

    def encode(self, prompt: str) -> Ints:
        """Token ids [P], with the special tokens that the tokenizer's post-processor adds.

        Raises ValueError for text with halves of characters, which JSON may hold.
        """
        try:
            prompt.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"prompt is not valid Unicode at character {error.start}") from None
        return np.array(self.fast.encode(prompt).ids, np.int64)

    def decode(self, tokens: Ints, ends: Collection[int]) -> str:
        """The text of `tokens` [n] without special tokens, and without the end token that may be the last."""
        ids = tokens.tolist()
        if ids and ids[-1] in ends:
            ids.pop()
        text: str = self.fast.decode(ids, skip_special_tokens=True)
        return text
