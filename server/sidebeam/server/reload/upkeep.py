"""All that is looked at again while the front runs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

from sidebeam.server.lifecycle import background
from sidebeam.server.lifecycle.background import GiveUp
from sidebeam.server.lifecycle.follower import Follower, Look


class Upkeep:
    """Entering it starts to look, each thing by itself; leaving it ends that."""

    def __init__(self, interval_s: Callable[[], float], give_up: GiveUp) -> None:
        self._interval_s = interval_s
        self._give_up = give_up
        self._followers: list[Follower] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._has_terminal = sys.stderr.isatty()

    def add(self, name: str, look: Look) -> None:
        """Look at one more thing; to be called before entering."""
        self._followers.append(Follower(name, look, self._interval_s))

    def __enter__(self) -> Self:
        for each in self._followers:
            self._tasks.append(background.begin(f"following the {each.name}", each.run(), self._give_up))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()

    def hang_up(self) -> bool:
        """Take SIGHUP: look at everything. False: it was the terminal that went, which asks for nothing but an end."""
        if self._has_terminal and not sys.stderr.isatty():
            return False
        structlog.get_logger().info("reload_asked", what=[each.name for each in self._followers])
        for each in self._followers:
            each.ask()
        return True
