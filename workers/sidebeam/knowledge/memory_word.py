"""Reading an index by its address: kernels search several at once, and passing arrays around costs more than reading.

Whoever hands an address to a kernel keeps the array alive meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

Words = npt.NDArray[np.uint32]
_declared: Any = get_or_insert_function
_intrinsic: Any = intrinsic


def address(words: Words) -> int:
    """Of an array's first word; 0 if it is empty."""
    if not len(words):
        return 0
    assert words.dtype == np.uint32
    assert words.flags.c_contiguous
    return words.ctypes.data


def _word(typing: Any, start: Any, place: Any) -> Any:
    signature = types.int64(types.int64, types.int64)

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.IntType(32).as_pointer())
        return builder.zext(builder.load(builder.gep(pointer, [arguments[1]])), ir.IntType(64))

    return signature, build


def _prefetch(typing: Any, start: Any, place: Any) -> Any:
    signature = types.void(types.int64, types.int64)

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        call: Any = _declared(builder.module, kind, "llvm.prefetch.p0")
        pointer = builder.inttoptr(arguments[0], number.as_pointer())
        target = builder.bitcast(builder.gep(pointer, [arguments[1]]), byte)
        builder.call(call, [target, number(0), number(3), number(1)])  # to read; keep near; data
        return context.get_dummy_value()

    return signature, build


word: Callable[[int, int], int] = _intrinsic(_word)
"""word(start, place): the word at `place` of the array at address `start`, as an int64. For kernels."""

prefetch: Callable[[int, int], None] = _intrinsic(_prefetch)
"""prefetch(start, place): asks for that word to be brought near, without waiting for it. For kernels."""
