"""Provisional items: made where they delay nobody."""

from __future__ import annotations

import asyncio

from sidebeam.server.config.config import DraftConfig
from sidebeam.server.recommendation.guesses import Guesses


async def test_spare_cores_allow_every_guess_up_to_the_limit():
    guesses = Guesses(DraftConfig(provisional_streams=1), has_spare_cores=True)
    with guesses.arrival() as first, guesses.arrival() as second:
        assert first
        assert second
        with guesses.making(), guesses.arrival() as third:
            assert not third


async def test_without_spare_cores_only_the_first_after_a_quiet_time():
    guesses = Guesses(DraftConfig(quiet_ms=50), has_spare_cores=False)
    with guesses.arrival() as first, guesses.arrival() as beside:
        assert first
        assert not beside
    with guesses.arrival() as at_once:
        assert not at_once
    await asyncio.sleep(0.06)
    with guesses.arrival() as later:
        assert later


async def test_off_and_always_know_no_exception():
    with Guesses(DraftConfig(provisional="off"), has_spare_cores=True).arrival() as may_guess:
        assert not may_guess
    always = Guesses(DraftConfig(provisional="always"), has_spare_cores=False)
    with always.arrival(), always.arrival() as may_guess:
        assert may_guess
