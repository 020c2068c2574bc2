"""How much of a caller's deadline is kept to tell it what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from sidebeam.server.refusals import refusal

MARGIN_S = 0.05
MARGIN_SHARE = 0.1  # at most this share of it
UNREAD_S = 1.0  # beyond it: whoever has not read an answer by then, no longer keeps others waiting


def margin_s(remaining: float) -> float:
    """Of what remains of a deadline, in seconds."""
    return min(MARGIN_S, MARGIN_SHARE * remaining)


def answer_by(context: Any, default_s: float, kept_s: Callable[[float], float] = margin_s) -> float:
    """When a call's answer must be on its way, in the event loop's time: `kept_s` of what remains before its deadline.

    A call without a deadline has `default_s`.
    """
    remaining: float | None = context.time_remaining()
    now = asyncio.get_running_loop().time()
    return now + default_s if remaining is None else now + remaining - kept_s(remaining)


@asynccontextmanager
async def while_read(deadline: float) -> AsyncIterator[None]:
    """Bound the block, which sends to a caller, by the deadline and `UNREAD_S`. Raises Refusal after that."""
    try:
        async with asyncio.timeout_at(deadline + UNREAD_S):
            yield
    except TimeoutError:
        raise refusal.unread() from None
