"""Token ids from whoever calls, as kernels take them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.error import KnowledgeError
from sidebeam.knowledge.layout import TOKEN_LIMIT

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]


def integers(tokens: npt.ArrayLike) -> Longs:
    """A copy that no kernel needs to be compiled for again. Raises `KnowledgeError` for anything but a list of ids."""
    given = np.asarray(tokens)
    if given.ndim != 1 or (given.dtype.kind not in "iu" and given.size):
        raise KnowledgeError(f"tokens must be a list of token ids; given {tokens!r}")
    return np.array(given, np.int64)


def check_ids(tokens: Longs) -> None:
    """Raises `KnowledgeError` if one is out of range."""
    if len(tokens) and (int(tokens.min()) < 0 or int(tokens.max()) >= TOKEN_LIMIT):
        limits = f"from 0 to {TOKEN_LIMIT - 1:,}"
        raise KnowledgeError(f"token ids must be {limits}; given {tokens.min()} to {tokens.max()}")


def tokens_of(tokens: npt.ArrayLike) -> Ints:
    """Both of the above, as an index stores them."""
    given = integers(tokens)
    check_ids(given)
    return given.astype(np.int32)
