"""Cores that do not sleep: what a message costs is then what it takes, not what waking up for it does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

SPIN = "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)); os.sched_setaffinity(0, {%d})"


def can_keep_awake() -> bool:
    """Where processes can be told to run only while nobody else wants to, which is on Linux."""
    return hasattr(os, "SCHED_IDLE")


@contextmanager
def awake_cores() -> Iterator[None]:
    """For the length of the block each core that this process may use has something to do that gives way to all else.

    Cores with nothing to do fall asleep, those of virtual machines so deeply that each message between two processes
    takes a millisecond longer.
    """
    with ExitStack() as stack:
        for core in os.sched_getaffinity(0):
            program = f"{SPIN % core}\nprint(flush=True)\nwhile True: pass"
            spinner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
            stack.enter_context(spinner)
            stack.callback(spinner.kill)
            assert spinner.stdout is not None
            spinner.stdout.readline()
        yield
