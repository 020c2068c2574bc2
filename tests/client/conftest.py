"""The wire peer's process, and what it tells the tests."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class PeerProcess:
    """A running peer; reads its lines in the background."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._stdout = process.stdout
        self.address = f"127.0.0.1:{self._stdout.readline().strip()}"
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, line: str, timeout_s: float = 10.0) -> None:
        """Return once the peer has said `line`; lines before it are dropped. Raises queue.Empty if it does not."""
        while self._lines.get(timeout=timeout_s) != line:
            pass

    def said(self) -> list[str]:
        """Return, without waiting, the lines not yet looked at."""
        return [self._lines.get() for _ in range(self._lines.qsize())]

    def join(self) -> None:
        """Wait for the end of the peer's lines."""
        self._reader.join()

    def _read(self) -> None:
        for line in self._stdout:
            self._lines.put(line.strip())


@contextmanager
def running_peer(*arguments: str) -> Iterator[PeerProcess]:
    """Run the peer as a process; it ends with the block, or with this process."""
    command = [sys.executable, str(Path(__file__).with_name("peer.py")), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        peer = PeerProcess(process)
        yield peer
        assert process.stdin is not None
        process.stdin.close()
        peer.join()
        assert process.wait(timeout=10) == 0


@pytest.fixture(scope="session")
def peer() -> Iterator[PeerProcess]:
    with running_peer() as process:
        yield process


@pytest.fixture
def slow_peer() -> Iterator[PeerProcess]:
    """A peer that answers at once, and reports SERVING 0.6 s later."""
    with running_peer("0.6") as process:
        yield process
