"""Numba, so that a request never waits for a compiler and a read-only installation works too."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

_jit: Any = numba.njit  # its types do not know all of its options

F = TypeVar("F", bound=Callable[..., object])

# Numba takes a kernel for unchanged if its own file is; kernels and constants of other files are compiled into it too.
FROZEN_IN = (
    *("best_first", "calibration", "compiled", "cursors", "deleted", "layout", "matches", "memory_word", "mixing"),
    *("own_text", "retrieve", "suffix_sort", "suffix_tree"),
)
STAMP = hashlib.sha256(b"".join(Path(__file__).with_name(f"{n}.py").read_bytes() for n in FROZEN_IN)).hexdigest()


def compiled(kernel: F) -> F:
    """Machine code at the first call, kept on disk for the next process, run without the interpreter's lock.

    Numba keeps it beside the source, or else in the user's cache folder; where it may write to neither, every process
    compiles for itself; so it does if the disk is full.
    """
    return _kept(kernel)


def bare(kernel: F) -> F:
    """The same for kernels that make no arrays: without counting references, which took most of the time of a draft."""
    try:
        return _kept(kernel, _nrt=False)
    except (KeyError, TypeError):  # another Numba, which does not know the option
        return _kept(kernel)


def settled(kernel: F) -> F:
    """The machine code that a kernel has by now, called without a look at the arguments' types; else the kernel.

    Only for callers whose arguments are always of the types that it was compiled for: others would be misread.
    """
    made = list(getattr(kernel, "overloads", {}).values())
    return made[0].entry_point if len(made) == 1 else kernel


def _kept(kernel: F, **options: bool) -> F:
    try:
        made: Any = _jit(cache=True, nogil=True, error_model="numpy", **options)(kernel)
        made._cache._cache_file._source_stamp = STAMP
        made._cache.save_overload = _if_possible(made._cache.save_overload)
    except (RuntimeError, AttributeError):  # there is no folder to keep it in, or another Numba keeps it another way
        made = _jit(nogil=True, error_model="numpy", **options)(kernel)
    return made  # type: ignore[no-any-return]


def _if_possible(save: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    def save_or_not(signature: Any, made: Any) -> None:
        with contextlib.suppress(OSError):
            save(signature, made)

    return save_or_not
