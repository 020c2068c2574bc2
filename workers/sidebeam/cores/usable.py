"""How many cores this process may use. `os.cpu_count` counts the node's, whatever a container is allowed of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

FRONT = 1  # core for the front server, whose callers wait when it does

# Where every distribution and container runtime mounts them.
V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/cpu"


def usable_cores(root: Path = Path("/")) -> int:
    """The least of the process's CPU affinity and the CPU quotas of its cgroup and those above it; at least 1.

    A quota of 2.5 cores counts as 2: threads that wait for each other at every step are throttled together. Shares
    of CPU time, which Kubernetes makes of a request without a limit, bound nothing and are not counted. Below `root`
    are the files of the kernel: `proc/self/cgroup`, and cgroups of version 2 or 1.
    """
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        allowed = os.cpu_count() or 1
    return max(1, int(min([allowed, *_quotas(root)])))


def target_threads(replicas: int, cores: int) -> int:
    """For each of so many target workers on one host: all `cores` but the front's, as far as there are others.

    A pass is divided among its threads and lasts as long as the slowest of them. If the front, too, runs on one of
    their cores, refusing what is too much takes from all threads at once what it takes from one: under three times the
    requests that two cores can bear, two threads answer a third of what one does.
    """
    return max(1, (cores - FRONT) // replicas)


def _quotas(root: Path) -> Iterator[float]:
    """In cores. Files that are missing or mean nothing to us bound nothing."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            for folder in _up(root / V2, path):
                yield from _quota(_read(folder / "cpu.max"))
        elif "cpu" in controllers.split(","):
            for folder in _up(root / V1, path):
                yield from _quota(f"{_read(folder / 'cpu.cfs_quota_us')} {_read(folder / 'cpu.cfs_period_us')}")


def _up(mount: Path, path: str) -> Iterator[Path]:
    """The cgroup `path` and those above it. In a container without a cgroup namespace `path` is the node's, and only
    the mount itself, which is the container's cgroup, will be found."""
    folder = mount / path.lstrip("/")
    while folder != mount:
        yield folder
        folder = folder.parent
    yield mount


def _quota(text: str) -> Iterator[float]:
    """From `QUOTA PERIOD`, both in microseconds; `max` and -1 are no quota."""
    numbers = text.split()
    if len(numbers) == 2 and all(number.isdigit() for number in numbers) and int(numbers[1]):
        yield int(numbers[0]) / int(numbers[1])


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
