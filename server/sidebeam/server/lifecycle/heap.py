"""How glibc keeps freed memory: by itself it holds on to much that a server of small messages never needs again."""

from __future__ import annotations

import ctypes
import os

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # malloc.h
LARGE = 128 << 10  # bytes
SETTINGS = {
    "MALLOC_ARENA_MAX": (ARENA_MAX, 2),  # not one for nearly every thread of gRPC's, each with holes of its own
    "MALLOC_MMAP_THRESHOLD_": (MMAP_THRESHOLD, LARGE),  # fixed: glibc would raise it to the largest message seen
    "MALLOC_TRIM_THRESHOLD_": (TRIM_THRESHOLD, LARGE),
}


def keep_small() -> None:
    """Have freed memory go back to the system, before other threads start. What the environment sets stays.

    For the front alone: workers allocate and free large tensors at every pass. Without glibc this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    for variable, (parameter, value) in SETTINGS.items():
        if variable not in os.environ:
            mallopt(parameter, value)
