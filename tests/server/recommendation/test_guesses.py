"""Provisional items: made where they delay nobody."""

from __future__ import annotations

import asyncio

from sidebeam.server.config.config import DraftConfig
from sidebeam.server.recommendation.guesses import Guesses


async def test_spare_cores_allow_every_guess_up_to_the_limit():
    config, guesses = DraftConfig(provisional_streams=1), Guesses(has_spare_cores=True)
    with guesses.arrival(config) as first, guesses.arrival(config) as second:
        assert first
        assert second
        with guesses.making(), guesses.arrival(config) as third:
            assert not third


async def test_without_spare_cores_only_the_first_after_a_quiet_time():
    config, guesses = DraftConfig(quiet_ms=50), Guesses(has_spare_cores=False)
    with guesses.arrival(config) as first, guesses.arrival(config) as beside:
        assert first
        assert not beside
    with guesses.arrival(config) as at_once:
        assert not at_once
    await asyncio.sleep(0.06)
    with guesses.arrival(config) as later:
        assert later


async def test_off_and_always_know_no_exception():
    with Guesses(has_spare_cores=True).arrival(DraftConfig(provisional="off")) as may_guess:
        assert not may_guess
    always, guesses = DraftConfig(provisional="always"), Guesses(has_spare_cores=False)
    with guesses.arrival(always), guesses.arrival(always) as may_guess:
        assert may_guess
