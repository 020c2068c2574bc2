"""Who goes first where cores are scarce."""

from __future__ import annotations

import os
from pathlib import Path


def give_way(niceness: int) -> None:
    """Adds to the niceness of this process, of the threads that it has and of those that it will start."""
    tasks = Path("/proc/self/task")  # on Linux each thread has a niceness of its own, which its children inherit
    threads = [int(each.name) for each in tasks.iterdir()] if tasks.is_dir() else [0]
    for thread in threads:
        try:
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + niceness)
        except ProcessLookupError:  # it has ended
            continue
