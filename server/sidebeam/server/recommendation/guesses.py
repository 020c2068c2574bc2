"""Which requests get provisional items: those whose guess delays nobody's answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from sidebeam.server.config.config import DraftConfig


class Guesses:
    """Decides for each request on arrival, and counts the guesses being made."""

    def __init__(self, has_spare_cores: bool) -> None:
        self._has_spare_cores = has_spare_cores
        self._making = 0
        self._inside = 0
        self._last_end = float("-inf")

    @contextmanager
    def arrival(self, config: DraftConfig) -> Iterator[bool]:
        """Count a request for the length of the block. Yields whether it may have a guess."""
        now = asyncio.get_running_loop().time()
        quiet = not self._inside and now - self._last_end >= config.quiet_ms / 1000
        always = config.provisional == "always" or self._has_spare_cores
        self._inside += 1
        try:
            yield config.provisional != "off" and self._making < config.provisional_streams and (always or quiet)
        finally:
            self._inside -= 1
            self._last_end = asyncio.get_running_loop().time()

    @contextmanager
    def making(self) -> Iterator[None]:
        """Count a guess for the length of the block."""
        self._making += 1
        try:
            yield
        finally:
            self._making -= 1
