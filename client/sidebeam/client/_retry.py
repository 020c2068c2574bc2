"""Asking again, where that is safe: when the sidecar turned a request away, or was not there."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from sidebeam.client._call_stream import Plan
from sidebeam.client._errors import Overloaded, TryAgain

AnswerT = TypeVar("AnswerT")

FIRST_S = 0.05  # where the sidecar does not say how long; doubled each time
SPREAD = 0.5  # at most so much is added, so that callers turned away together do not come back together


async def with_retries(ask: Callable[[Plan], Awaitable[AnswerT]], plan: Plan, retries: int) -> AnswerT:
    """What `ask` returns, at the latest by the plan's own deadline.

    Raises what `ask` raises: the last error where waiting and asking again would take longer than there is time.
    """
    ends = time.monotonic() + plan.timeout_s
    for attempt in range(retries + 1):
        try:
            return await ask(plan)
        except TryAgain as error:
            pause_s = _pause_s(error, attempt) if attempt < retries else None
            if pause_s is None or time.monotonic() + pause_s >= ends:
                raise
        await asyncio.sleep(pause_s)
        plan = replace(plan, timeout_s=ends - time.monotonic())
    raise AssertionError("the last attempt returns or raises")


def _pause_s(error: TryAgain, attempt: int) -> float | None:
    """How long to wait; None: not to be asked again."""
    if error.retry_after_s is not None:
        return error.retry_after_s * random.uniform(1.0, 1.0 + SPREAD)
    if isinstance(error, Overloaded):  # by somebody who does not want to be asked again
        return None
    return float(FIRST_S * 2**attempt * random.uniform(1.0, 1.0 + SPREAD))
