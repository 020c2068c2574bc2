"""Vectors of texts without a model: signed feature hashing of words and word pairs."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from sidebeam.grouping.embeddings import Vectors
from sidebeam.grouping.error import GroupingError

WORD = re.compile(r"\w+")
LONGEST = 2  # words in a feature


class HashingEncoder:
    """Words and word pairs, each added to one of `dim` places with one of two signs; lengths are 1.

    Counts go in as 1 + log(count), so that a word said often does not drown the others. The hash is fixed: the same
    text has the same vector on every machine. A text without words is all zeros. Raises `GroupingError` for `dim`
    below 1.
    """

    def __init__(self, dim: int = 256) -> None:
        if dim < 1:
            raise GroupingError(f"--dim must be at least 1; given {dim}")
        self.dim = dim
        self._places: dict[str, tuple[int, float]] = {}  # of features met before

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One vector per text.  # [texts, dim]"""
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for feature, count in Counter(_features(text)).items():
                place, sign = self._place(feature)
                vector[place] += sign * (1 + math.log(count))
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        lengths[lengths == 0] = 1
        vectors /= lengths
        return vectors

    def _place(self, feature: str) -> tuple[int, float]:
        found = self._places.get(feature)
        if found is None:
            number = int.from_bytes(blake2b(feature.encode(), digest_size=8).digest(), "little")
            found = self._places[feature] = ((number >> 1) % self.dim, 1.0 if number & 1 else -1.0)
        return found


def _features(text: str) -> list[str]:
    words = WORD.findall(text.lower())
    return [
        " ".join(words[at : at + length]) for length in range(1, LONGEST + 1) for at in range(len(words) - length + 1)
    ]
