"""The door: how many requests may be inside, and how many may come in each second."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from asyncio_throttle import Throttler

from sidebeam.server.config import AdmissionConfig
from sidebeam.server.refusal import overloaded

PERIOD_S = 1.0


class Admission:
    """Refuses at once where there is no room, and after a bounded wait where the rate is too high."""

    def __init__(self, config: AdmissionConfig, max_in_flight: int) -> None:
        self._max_wait_ms = config.max_wait_ms
        self._per_second = config.requests_per_second
        self._most = max_in_flight
        self._inside = 0
        self._throttler = Throttler(rate_limit=config.requests_per_second, period=PERIOD_S, retry_interval=0.005)

    @contextmanager
    def room(self) -> Iterator[None]:
        """Count a request as inside for the length of the block. Raises Refusal if there is no room."""
        if self._inside >= self._most:
            raise overloaded("OVERLOADED", f"{self._most} requests are in flight, as many as may be", PERIOD_S)
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def wait(self) -> None:
        """Wait for a turn under the rate ceiling. Raises Refusal if it does not come in time."""
        try:
            async with asyncio.timeout(self._max_wait_ms / 1000):
                await self._throttler.acquire()
        except TimeoutError:
            message = f"more than {self._per_second} requests in a second; waited {self._max_wait_ms:g} ms for a turn"
            raise overloaded("RATE_LIMITED", message, PERIOD_S) from None
