"""Tasks that run as long as the front does. One that fails ends the front: half alive, it would never say why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

GiveUp = Callable[[str, int], None]
"""Called with a sentence and the front's exit code."""


def begin(name: str, work: Coroutine[Any, Any, None], give_up: GiveUp) -> asyncio.Task[None]:
    """Run `work` until it ends or is cancelled. An exception of it is logged and given up, with exit code 1."""
    task = asyncio.create_task(work, name=name)

    def ended(task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            structlog.get_logger().error("background_failed", task=name, exc_info=error)
            give_up(f"{name} failed: {type(error).__name__}: {error}; the log above says where", 1)

    task.add_done_callback(ended)
    return task
