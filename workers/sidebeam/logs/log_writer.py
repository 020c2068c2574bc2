"""A stream for log lines that nobody waits for: a thread of its own writes them."""

from __future__ import annotations

import io
import os
import select
import threading
from collections.abc import Callable
from queue import SimpleQueue

MOST_WAITING = 10_000  # lines; some megabytes
CLOSE_S = 1.0  # for what still waits at the process's end


class LogWriter(io.TextIOBase):
    """Writes each text that it is given, in order and in one piece, to the file `descriptor`.

    A disk that is slow or full, and a pipe that nobody reads, must not stop an event loop that logs. So texts wait
    here, at most `most` of them; what comes on top, or cannot be written, is dropped. Once texts go out again,
    `dropped` is called with the count, in the writing thread.
    """

    def __init__(self, descriptor: int, dropped: Callable[[int], None], most: int = MOST_WAITING) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._tell = dropped
        self._most = most
        self._lost = 0
        self._counting = threading.Lock()
        self._texts: SimpleQueue[str | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str, /) -> int:
        """Have `text` written soon. Returns at once, its length."""
        if self._texts.qsize() < self._most:
            self._texts.put(text)
        else:
            self._lose()
        return len(text)

    def end(self) -> None:
        """Wait until all is written, but not for long."""
        self._texts.put(None)
        self._thread.join(CLOSE_S)

    def _work(self) -> None:
        while (text := self._texts.get()) is not None:
            try:
                self._put_out(text.encode(errors="replace"))
            except OSError:  # no space, or nobody at the other end any more
                self._lose()
                continue
            if self._lost and self._texts.qsize() <= self._most // 2:
                with self._counting:
                    lost, self._lost = self._lost, 0
                self._tell(lost)

    def _put_out(self, data: bytes) -> None:
        """Past Python's own buffer, whose lock a thread that waits for a disk would hold when the process ends."""
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # a pipe that somebody else has made non-blocking
                select.select((), (self._descriptor,), ())

    def _lose(self) -> None:
        with self._counting:
            self._lost += 1
