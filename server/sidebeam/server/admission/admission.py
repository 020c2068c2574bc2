"""The door: who may come in, how many at a time, and how many a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import grpc
from asyncio_throttle import Throttler

from sidebeam.server.admission.adaptive_limit import AdaptiveLimit
from sidebeam.server.admission.permits import Permits
from sidebeam.server.admission.service_time import ServiceTime
from sidebeam.server.config.config import AdmissionConfig
from sidebeam.server.refusals.refusal import Refusal, out_of_reach, overloaded
from sidebeam.server.security import tenant

PERIOD_S = 1.0
POLL_S = 0.005
LEAST_RETRY_S = 0.05
FLOOR = 0.25  # of the slots, however many deadlines are missed
HOPELESS = 2.0  # times the fastest answer: shorter deadlines are missed by an idle sidecar, too


class Visit:
    """One request inside. What is told about its end is what the limit learns from."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline  # of the event loop's clock, seconds
        self.work_s = 0.0  # inside the target, waiting left out; 0: not known
        self.is_cut_short = False
        self.is_answered = False  # rather than left by its caller, or ended because there is no target worker


class Admission:
    """Refuses at once where there is no room or no hope, and after a bounded wait where there is no turn.

    `slots` says how many requests all target workers hold together.
    """

    def __init__(self, config: AdmissionConfig, max_in_flight: int, slots: Callable[[], int]) -> None:
        self._config = config
        self._most = max_in_flight
        self._slots = slots
        self._inside = 0
        self._throttled = 0
        self._limit = AdaptiveLimit(max_in_flight)
        self._permits = Permits(lambda: self.permits)
        self._service = ServiceTime()
        self._everybody = _throttler(config.requests_per_second)
        self._tenants: dict[str, Throttler] = {}

    def configure(self, config: AdmissionConfig, max_in_flight: int) -> None:
        """Take over other settings; who is inside stays, and who waits for a ceiling waits for the new one."""
        self._config = config
        self._most = max_in_flight
        self._limit.bound(max_in_flight)
        self._everybody.rate_limit = config.requests_per_second
        for throttler in self._tenants.values():
            throttler.rate_limit = config.tenant_requests_per_second or config.requests_per_second

    @property
    def in_flight(self) -> int:
        """Requests inside, those that wait counted."""
        return self._inside

    @property
    def permits(self) -> int:
        """Requests that may be worked on at once; short deadlines leave at least `FLOOR` of them."""
        most = self._config.max_concurrent or self._slots()
        return max(1, int(FLOOR * most), min(self._limit.now, most))

    @property
    def waiting(self) -> int:
        """Requests inside that wait for the rate ceiling or for a permit."""
        return self._throttled + self._permits.waiting

    @contextmanager
    def room(self) -> Iterator[None]:
        """Count a request as inside for the length of the block. Raises Refusal if there is no room."""
        if self._inside >= self._most:
            raise self._overloaded(f"{self._most} requests are inside, as many as may be")
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    @asynccontextmanager
    async def turn(self, deadline: float, *, needs_answer: bool) -> AsyncIterator[Visit]:
        """Wait for the rate ceiling and for a permit, and hold it for the length of the block.

        `deadline` is of the event loop's clock. With `needs_answer`, one that nothing like an answer can keep is not
        waited for. Raises Refusal.
        """
        clock = asyncio.get_running_loop()
        remaining = deadline - clock.time()
        if needs_answer and self._service.is_out_of_reach(remaining):
            raise out_of_reach(remaining, self._service.least_s)
        wait_until = clock.time() + min(remaining, self._config.max_wait_ms / 1000)
        await self._pass_ceilings(wait_until)
        try:
            permit = self._permits.one(wait_until - clock.time())
            await permit.__aenter__()
        except TimeoutError:
            waited = f"waited {self._config.max_wait_ms:g} ms"
            raise self._overloaded(f"{self.permits} requests are worked on, and more come; {waited}") from None
        visit, started = Visit(deadline), clock.time()
        try:
            yield visit
            visit.is_answered = True
        except Refusal as error:
            visit.is_cut_short |= error.code is grpc.StatusCode.DEADLINE_EXCEEDED
            raise
        except asyncio.CancelledError:  # the caller has gone; perhaps because it was too late
            visit.is_cut_short |= clock.time() >= deadline
            raise
        finally:
            await permit.__aexit__(None, None, None)
            self._learn(visit, started, clock.time())

    def _learn(self, visit: Visit, started: float, now: float) -> None:
        if visit.work_s:
            self._service.observe(visit.work_s)
        inside = self._permits.held + 1
        if visit.is_answered and not visit.is_cut_short:
            self._limit.in_time(inside)
        elif visit.is_cut_short and visit.deadline - started >= HOPELESS * self._service.least_s:
            self._limit.too_late(inside, started, now)

    async def _pass_ceilings(self, until: float) -> None:
        """Wait for a turn under the ceilings of all and of the tenant. Raises Refusal if it does not come in time."""
        name = tenant.current().name
        ceilings = [("", self._everybody, self._config.requests_per_second)]
        if name and (most := self._config.tenant_requests_per_second):
            if name not in self._tenants:
                self._tenants[name] = _throttler(most)
            ceilings.insert(0, (f" of tenant {name!r}", self._tenants[name], most))
        for whose, throttler, per_second in ceilings:
            self._throttled += 1
            try:
                async with asyncio.timeout_at(until):
                    await throttler.acquire()
            except TimeoutError:
                raise overloaded(
                    "RATE_LIMITED", f"more than {per_second} requests{whose} in a second", PERIOD_S
                ) from None
            finally:
                self._throttled -= 1

    def _overloaded(self, message: str) -> Refusal:
        """Asks to come back when about half of those that are inside now will have gone."""
        drained_s = self._service.least_s * self._inside / 2
        return overloaded("OVERLOADED", message, min(max(drained_s, LEAST_RETRY_S), PERIOD_S))


def _throttler(per_second: int) -> Throttler:
    return Throttler(rate_limit=per_second, period=PERIOD_S, retry_interval=POLL_S)
