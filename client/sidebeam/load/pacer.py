"""Calls on time: an event loop's own timers are late by up to a millisecond, a thread's by a tenth of that."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self


class Pacer:
    """Calls `fire(due)` in the event loop at each time of `due`, ascending, on the clock of `time.perf_counter`.

    A loop that is busy gets the calls late, but gets all of them, each with the time at which it was due. `done` is set
    in the loop after the last one. Leaving the block stops the calls.
    """

    def __init__(self, due: Iterable[float], fire: Callable[[float], None]) -> None:
        self.done = asyncio.Event()
        self._due = due
        self._fire = fire
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._pace, name="pacer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _pace(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody is left to be called
            for due in self._due:
                left_s = due - time.perf_counter()
                if self._stop.wait(left_s) if left_s > 0 else self._stop.is_set():
                    return
                self._loop.call_soon_threadsafe(self._fire, due)
            self._loop.call_soon_threadsafe(self.done.set)
