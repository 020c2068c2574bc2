"""The door: room, ceilings, permits and hopeless deadlines."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from sidebeam.server.admission.admission import Admission
from sidebeam.server.config.config import AdmissionConfig
from sidebeam.server.refusals.refusal import Refusal, too_late, unavailable
from sidebeam.server.security import tenant

SOON = 5.0


def opened(slots: int = 4, most: int = 64, **settings: float) -> Admission:
    return Admission(AdmissionConfig(**settings), most, lambda: slots)  # type: ignore[arg-type]


def deadline(after_s: float = SOON) -> float:
    return asyncio.get_running_loop().time() + after_s


async def work(admission: Admission, work_s: float, *, deadline_s: float = SOON) -> None:
    async with admission.turn(deadline(deadline_s), needs_answer=True) as visit:
        await asyncio.sleep(0)
        visit.work_s = work_s


async def test_no_more_than_the_slots_are_worked_on() -> None:
    admission = opened(slots=3)
    inside = most = 0

    async def visit() -> None:
        nonlocal inside, most
        with admission.room():
            async with admission.turn(deadline(), needs_answer=True):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.002)
                inside -= 1

    await asyncio.gather(*(visit() for _ in range(20)))
    assert most == 3
    assert (admission.in_flight, admission.waiting) == (0, 0)


async def test_who_gets_no_turn_is_told_when_to_come_back() -> None:
    admission = opened(slots=1, max_wait_ms=5)
    async with admission.turn(deadline(), needs_answer=True):
        with pytest.raises(Refusal, match="1 requests are worked on") as caught:
            await work(admission, 0.0)
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.reason == "OVERLOADED"
    assert caught.value.retry_after_ms == 50
    await work(admission, 0.0)


async def test_a_full_house_refuses_at_once() -> None:
    admission = opened(most=2)
    with (
        admission.room(),
        admission.room(),
        pytest.raises(Refusal, match="2 requests are inside, as many as may be"),
        admission.room(),
    ):
        pytest.fail("there was no room")
    with admission.room():
        assert admission.in_flight == 1


async def test_hopeless_deadlines_are_not_begun() -> None:
    admission = opened()
    await work(admission, 0.2)
    with pytest.raises(Refusal, match="the fastest answers lately took 200 ms") as caught:
        await work(admission, 0.2, deadline_s=0.05)
    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "OUT_OF_REACH")
    async with admission.turn(deadline(0.05), needs_answer=False):  # less than an answer will do
        pass


async def test_missed_deadlines_lower_the_limit_and_kept_ones_raise_it() -> None:
    admission = opened(slots=16)

    async def late() -> None:
        async with admission.turn(deadline(), needs_answer=True):
            await asyncio.sleep(0)
            raise too_late("it took too long")

    for _ in range(3):
        await asyncio.gather(*(late() for _ in range(8)), return_exceptions=True)
    low = admission.permits
    assert low < 8
    for _ in range(40):
        await asyncio.gather(*(work(admission, 0.001) for _ in range(low)))
    assert admission.permits > low


async def test_without_an_answer_nothing_is_learned() -> None:
    """While there is no target worker every request ends, and none of them shows that more could be worked on."""
    admission = opened(slots=16)

    async def end(error: Exception) -> None:
        async with admission.turn(deadline(), needs_answer=True):
            await asyncio.sleep(0)
            raise error

    for _ in range(5):
        await asyncio.gather(*(end(too_late("it took too long")) for _ in range(8)), return_exceptions=True)
    low = admission.permits
    assert low < 8
    for _ in range(200):
        gone = unavailable("NO_TARGET", "no target worker was ready", 1.0)
        await asyncio.gather(*(end(gone) for _ in range(low)), return_exceptions=True)
    assert admission.permits == low


async def test_deadlines_that_an_idle_sidecar_misses_teach_nothing() -> None:
    admission = opened(slots=16)
    await work(admission, 0.2)
    for _ in range(20):
        async with admission.turn(deadline(0.3), needs_answer=False) as visit:
            visit.is_cut_short = True
    assert admission.permits == 16


async def test_each_tenant_has_a_ceiling_of_its_own() -> None:
    admission = opened(slots=64, requests_per_second=1000, tenant_requests_per_second=3, max_wait_ms=10)

    async def ask(name: str) -> str:
        tenant.begin(tenant.Tenant(name))
        try:
            await work(admission, 0.0)
        except Refusal as error:
            return f"{error.reason}: {error}"
        return ""

    greedy = await asyncio.gather(*(asyncio.create_task(ask("greedy")) for _ in range(8)))
    modest = await asyncio.gather(*(asyncio.create_task(ask("modest")) for _ in range(2)))
    nobody = await asyncio.gather(*(asyncio.create_task(ask("")) for _ in range(8)))
    assert sorted(greedy) == [""] * 3 + ["RATE_LIMITED: more than 3 requests of tenant 'greedy' in a second"] * 5
    assert {*modest, *nobody} == {""}


async def test_the_ceiling_of_all_holds_for_all() -> None:
    admission = opened(slots=64, requests_per_second=4, max_wait_ms=10)
    done = await asyncio.gather(*(work(admission, 0.0) for _ in range(6)), return_exceptions=True)
    refused = [each for each in done if each is not None]
    assert [str(each) for each in refused] == ["more than 4 requests in a second"] * 2
    assert {each.retry_after_ms for each in refused} == {1000}  # type: ignore[union-attr]


async def test_other_settings_count_for_the_next_request() -> None:
    admission = opened(slots=1, max_wait_ms=0)
    async with admission.turn(deadline(), needs_answer=True):
        with pytest.raises(Refusal, match="1 requests are worked on"):
            await work(admission, 0.0)
        admission.configure(AdmissionConfig(max_concurrent=2, max_wait_ms=0), 2)
        await work(admission, 0.0)
    with admission.room(), admission.room(), pytest.raises(Refusal, match="2 requests are inside"), admission.room():
        pass
    admission.configure(AdmissionConfig(requests_per_second=1, max_wait_ms=0), 64)
    with pytest.raises(Refusal, match="more than 1 requests in a second"):
        await work(admission, 0.0)
    admission.configure(AdmissionConfig(), 64)
    await work(admission, 0.0)
