"""A running process, as Linux tells of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")  # a second


@dataclass(frozen=True, slots=True)
class Process:
    """Told apart from a later one of the same number by when it `began`, in the kernel's ticks."""

    pid: int
    began: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process of that number. Raises OSError if there is none."""
        return cls(pid, int(_stat(pid)[19]))

    @property
    def is_alive(self) -> bool:
        """Whether it runs or is stopped; one that has ended is not alive, though nobody may have asked for its code."""
        try:
            stat = _stat(self.pid)
        except OSError:
            return False
        return int(stat[19]) == self.began and stat[0] not in "ZX"

    @property
    def is_stopped(self) -> bool:
        """By SIGSTOP. Raises OSError if it has ended."""
        return _stat(self.pid)[0] == "T"

    @property
    def arguments(self) -> list[str]:
        """Its command line. Raises OSError if it has ended."""
        return (self._folder / "cmdline").read_text(errors="replace").split("\0")

    @property
    def resident_bytes(self) -> int:
        """Raises OSError if it has ended."""
        return int((self._folder / "statm").read_text().split()[1]) * PAGE_BYTES

    @property
    def cpu_s(self) -> float:
        """Seconds of a core that it has used. Raises OSError if it has ended."""
        user, system = _stat(self.pid)[11:13]
        return (int(user) + int(system)) / TICKS

    @property
    def open_files(self) -> int:
        """File descriptors. Raises OSError if it has ended."""
        return len(list((self._folder / "fd").iterdir()))

    def children(self) -> Iterator[Process]:
        """Those that it has started and that have not ended, in no order."""
        for children in self._folder.glob("task/*/children"):
            for pid in children.read_text().split():
                try:
                    child = Process.of(int(pid))
                except OSError:
                    continue
                if child.is_alive:
                    yield child

    @property
    def _folder(self) -> Path:
        return Path(f"/proc/{self.pid}")


def workers(front: int) -> dict[str, Process]:
    """The worker processes of the front with that number, by the names that it gave them."""
    found = {}
    for child in Process(front, 0).children():
        try:
            words = child.arguments
        except OSError:
            continue
        if "--name" in words:
            found[words[words.index("--name") + 1]] = child
    return found


def family(front: int) -> dict[str, Process]:
    """The front with that number, as "front", and its workers. Raises OSError if there is none."""
    return {"front": Process.of(front), **workers(front)}


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on: what is before it may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
