"""What a person sees of a long measurement while there is nothing to report yet."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

SILENCE_S = 20.0  # between two lines where there is no terminal


class ProgressLine:
    """On standard error: one line that changes on a terminal and is gone at the end, elsewhere a line now and then."""

    def __init__(self) -> None:
        self._told_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if sys.stderr.isatty():
            self("")

    def __call__(self, line: str) -> None:
        """This goes on now."""
        if sys.stderr.isatty():
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._told_at >= SILENCE_S:
            self._told_at = time.monotonic()
            print(line, file=sys.stderr, flush=True)
