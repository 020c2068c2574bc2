"""A sidecar that is sent what nobody should send: it answers in its own words, loses nothing, and stays as it was.

`make test` sends some hundred requests, always the same. Others every time, as many as you like, so not for a run that
must come out the same twice:

    FUZZ_REQUESTS=100000 make slow PYTEST_ARGS='tests/fuzz -s'
"""

from __future__ import annotations

import os
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.attacks import ATTACKS, Attack, attack
from tests.fuzz.cases import Case, cases
from tests.fuzz.patient import Patient, Size
from tests.fuzz.sender import Sender

FEW = 1280
MANY = int(os.environ.get("FUZZ_REQUESTS", "6000"))
MUTANTS = 63  # of each case: drawing one takes as long as answering several
LARGE = 1 << 17  # bytes; of larger cases one mutant will do
CHECKED_EVERY = 8  # bursts
STAYING = 40  # raw connections that are held at a time
GROWTH = 48.0  # MiB that allocators may keep


def fuzz(sender: Sender, patient: Patient, requests: int, **how: Any) -> None:
    """Send about as many requests, in bursts, of which each is one case and its mutants."""
    bursts = 0

    @settings(
        max_examples=max(1, requests // (MUTANTS + 1)),
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        **how,
    )
    @given(cases(), st.integers(0, 2**32))
    def burst(case: Case, seed: int) -> None:
        nonlocal bursts
        mutants = case.mutants(1 if len(case.payload) > LARGE else MUTANTS, Random(seed))
        undocumented = [outcome for outcome in sender.send([case, *mutants]) if not outcome.is_documented]
        assert undocumented == [], str(undocumented[0])
        bursts += 1
        if bursts % CHECKED_EVERY == 0:
            patient.check()

    burst()


def besiege(address: str, patient: Patient, rounds: int, random: Random) -> int:
    """Attack over raw connections in every way, `rounds` times; returns how many connections were made."""
    staying = []
    try:
        for _ in range(rounds):
            for way in random.sample(ATTACKS, len(ATTACKS)):
                if (connection := attack(address, way(random), random)) is not None:
                    staying.append(connection)
                while len(staying) > STAYING:
                    staying.pop(random.randrange(len(staying))).close()
            patient.check()
    finally:
        for connection in staying:
            with suppress(OSError):
                connection.close()
    return rounds * len(ATTACKS)


def assert_not_grown(before: Size, after: Size) -> None:
    growth = {name: after.mebibytes[name] - mebibytes for name, mebibytes in before.mebibytes.items()}
    assert {name: mebibytes for name, mebibytes in growth.items() if mebibytes > GROWTH} == {}
    assert after.descriptors <= before.descriptors + 8
    assert after.threads <= before.threads + 4
    assert after.series <= before.series + 60  # those of codes and reasons that had not been seen


def test_odd_requests_are_told_what_is_wrong_and_leave_nothing_behind(sidecar, sender, patient):
    fuzz(sender, patient, FEW, derandomize=True)
    assert {"OK", "INVALID_ARGUMENT"} <= {code for method, code in sender.codes if method == "Recommend"}
    assert {"OK", "INVALID_ARGUMENT"} <= {code for method, code in sender.codes if method == "Generate"}
    patient.examine()


@pytest.mark.parametrize("way", ATTACKS, ids=lambda way: way.__name__)
def test_raw_connections_harm_nobody(sidecar, patient, way: Attack):
    random = Random(way.__name__)
    staying = [attack(sidecar.address, way(random), random) for _ in range(8)]
    patient.check()
    for connection in staying:
        if connection is not None:
            connection.close()
    patient.examine()


@pytest.mark.slow
@pytest.mark.skipif("FUZZ_REQUESTS" not in os.environ, reason="FUZZ_REQUESTS says how many; they differ every time")
@pytest.mark.timeout(3600)
def test_after_many_odd_requests_it_is_as_it_was(sidecar, sender, patient):
    fuzz(sender, patient, MANY // 10)
    besiege(sidecar.address, patient, 10, Random())
    patient.examine()
    before, warm = patient.size(), sender.sent
    fuzz(sender, patient, MANY, print_blob=True)
    connections = besiege(sidecar.address, patient, max(10, MANY // 1000), Random())
    patient.examine()
    after = patient.size()
    print(f"\n{sender.sent - warm} requests and {connections} raw connections after {warm}: {dict(sender.codes)}")
    print(f"{before}\n{after}")
    assert_not_grown(before, after)
