"""What verification must know of a vocabulary: which tokens end a text, and which must not be traded for others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

STRUCTURE = frozenset('{}[]<>"|=#*`:;\\\n\t')  # of JSON, tags, tables, headings and lists

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`ends` are the ids of end tokens, maybe none. Raises ValueError for an id outside the vocabulary."""

    size: int
    ends: tuple[int, ...]
    protected: Bools  # [size] never relaxed when asked

    def __post_init__(self) -> None:
        for end in self.ends:
            if not 0 <= end < self.size:
                raise ValueError(f"end tokens must be 0 to {self.size - 1}; given {end}")
        if self.protected.shape != (self.size,):
            raise ValueError(f"protected must have shape ({self.size},); given {self.protected.shape}")

    @classmethod
    def plain(cls, size: int, ends: Iterable[int] = ()) -> Vocabulary:
        """A vocabulary of which nothing but its ends is known; they alone are protected."""
        vocabulary = cls(size, tuple(ends), np.zeros(size, np.bool_))
        vocabulary.protected[list(vocabulary.ends)] = True
        return vocabulary

    @classmethod
    def of(cls, tokenizer: Any, size: int, ends: Iterable[int]) -> Vocabulary:
        """Protect digits, structure and special tokens of a `tokenizers.Tokenizer`; `size` is the model's.

        A token is judged by the text it stands for: byte-level spellings are decoded first. Ids that the tokenizer
        does not know are protected, too.
        """
        vocabulary = cls(size, tuple(ends), np.ones(size, np.bool_))
        special = {token_id for token_id, added in tokenizer.get_added_tokens_decoder().items() if added.special}
        known = min(size, tokenizer.get_vocab_size(with_added_tokens=True))
        ids = [token_id for token_id in range(known) if token_id not in special]
        for token_id, text in zip(ids, tokenizer.decode_batch([[i] for i in ids]), strict=True):
            vocabulary.protected[token_id] = any(letter.isdigit() or letter in STRUCTURE for letter in text)
        vocabulary.protected[list(vocabulary.ends)] = True
        return vocabulary
