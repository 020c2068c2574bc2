"""A pipe for a sidecar's log whose reader can stop, as a disk does that is stuck."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator

PIPE_BYTES = 4096  # the least that Linux makes: some lines fill it
READ_BYTES = 1 << 16


class LogPipe:
    """What is written to `writing`, a file descriptor, is read and thrown away within the `with` block."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._flowing = threading.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._read, name="log pipe", daemon=True)

    def __enter__(self) -> LogPipe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """To be left once all other writers have ended."""
        self._flowing.set()
        os.close(self.writing)
        self._thread.join()
        os.close(self._reading)

    @contextlib.contextmanager
    def stuck(self) -> Iterator[None]:
        """Nobody reads within the block, but for what was being read when it began."""
        self._flowing.clear()
        try:
            yield
        finally:
            self._flowing.set()

    def _read(self) -> None:
        while os.read(self._reading, READ_BYTES):
            self._flowing.wait()
