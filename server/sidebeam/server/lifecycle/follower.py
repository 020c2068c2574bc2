"""Something that is looked at again and again while the front runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

Look = Callable[[bool], Awaitable[None]]
"""Takes over what has changed. True: somebody asks for it, so that all is read and the log says how it went."""


class Follower:
    """Looks after every interval, which may change while it runs, and at once when asked to."""

    def __init__(self, name: str, look: Look, interval_s: Callable[[], float]) -> None:
        self.name = name
        self._look = look
        self._interval_s = interval_s
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Look as soon as the look under way, if any, has ended."""
        self._asked.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._interval_s()):
                    await self._asked.wait()
            except TimeoutError:
                pass
            asked = self._asked.is_set()
            self._asked.clear()
            await self._look(asked)
