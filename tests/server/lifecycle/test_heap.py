"""Freed memory goes back to the system: seen in a process of its own, whose allocator nobody else has set."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Blocks that only malloc gives, from many threads at once; every second is freed, then all are.
PROGRAM = """
import ctypes, os, re, sys, threading
from sidebeam.server.lifecycle.heap import keep_small
if sys.argv[1] == "small":
    keep_small()
ready = threading.Barrier(12)
def fill():
    ready.wait()
    kept = [bytearray(20_000) for _ in range(200)]
    ready.wait()
    del kept[::2]
    ready.wait()
threads = [threading.Thread(target=fill) for _ in range(12)]
for thread in threads: thread.start()
for thread in threads: thread.join()
del fill
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
read, write = os.pipe()
stream = ctypes.c_void_p(libc.fdopen(write, b"w"))
libc.malloc_info(0, stream)
libc.fflush(stream)
print(os.read(read, 1 << 16).decode().count("<heap nr="))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is asked")
@pytest.mark.parametrize(
    ("how", "setting", "most"),
    [
        ("small", {}, 2),
        ("as it is", {}, None),
        ("small", {"MALLOC_ARENA_MAX": "5"}, 5),
        ("small", {"GLIBC_TUNABLES": "glibc.malloc.arena_max=4"}, 4),
    ],
)
def test_threads_share_two_arenas_unless_the_environment_says_otherwise(
    how: str, setting: dict[str, str], most: int | None
) -> None:
    environment = {name: value for name, value in os.environ.items() if "MALLOC" not in name.upper()} | setting
    told = subprocess.run([sys.executable, "-c", PROGRAM, how], env=environment, capture_output=True, check=True)
    arenas = int(told.stdout)
    assert arenas == most if most is not None else arenas > 2
