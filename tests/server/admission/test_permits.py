"""Permits: never more than the limit, in order, and none is lost."""

from __future__ import annotations

import asyncio
import random

import pytest

from sidebeam.server.admission.permits import Permits


async def test_never_more_than_the_limit_and_none_is_lost() -> None:
    """Holders that end, fail, are cancelled or give up waiting, while the limit moves."""
    rng = random.Random(0)
    limit, inside, most_inside = 4, 0, 0
    permits = Permits(lambda: limit)

    async def work(number: int) -> None:
        nonlocal inside, most_inside
        async with permits.one(rng.uniform(0, 0.05)):
            inside += 1
            most_inside = max(most_inside, inside)
            assert inside <= 4
            try:
                await asyncio.sleep(rng.uniform(0, 0.002))
                if number % 7 == 0:
                    raise KeyError(number)
            finally:
                inside -= 1

    tasks = [asyncio.create_task(work(number)) for number in range(600)]
    for task in tasks[::5]:
        asyncio.get_running_loop().call_later(rng.uniform(0, 0.1), task.cancel)
    for limit in (4, 1, 3, 4):  # noqa: B007
        await asyncio.sleep(0.03)
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert not [each for each in done if isinstance(each, AssertionError)]
    assert any(isinstance(each, TimeoutError) for each in done)
    assert most_inside == 4
    assert (permits.held, permits.waiting, inside) == (0, 0, 0)


async def test_first_come_first_served() -> None:
    permits = Permits(lambda: 1)
    order: list[int] = []

    async def work(number: int) -> None:
        async with permits.one(5):
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(work(number) for number in range(20)))
    assert order == list(range(20))


async def test_where_the_line_stands_the_last_to_come_is_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    permits, order = Permits(lambda: 1), []

    async def work(number: int) -> None:
        async with permits.one(60):
            order.append(number)

    async with permits.one(0):
        tasks = [asyncio.create_task(work(number)) for number in range(5)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert permits.waiting == 5
        monkeypatch.setattr("sidebeam.server.admission.permits.STANDING", 0.0)
    await asyncio.gather(*tasks)
    assert order == [4, 3, 2, 1, 0]
    assert (permits.held, permits.waiting) == (0, 0)


async def test_no_permit_in_time_is_said() -> None:
    permits = Permits(lambda: 1)
    async with permits.one(0):
        with pytest.raises(TimeoutError):
            async with permits.one(0.01):
                pytest.fail("there was no permit")
    async with permits.one(0):
        assert permits.held == 1
