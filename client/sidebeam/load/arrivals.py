"""When requests arrive in an open loop."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

KINDS = ("poisson", "constant")


def arrivals(kind: str, rate: float, until_s: float, random: Random) -> Iterator[float]:
    """Times in seconds, ascending from 0 and below `until_s`, `rate` of them a second.

    "constant" arrivals are 1 / rate apart. Between "poisson" ones lie independent exponential times of that mean, as
    between the requests of many people who know nothing of each other; the first comes after such a time.
    """
    at_s, count = (0.0 if kind == "constant" else random.expovariate(rate)), 0
    while at_s < until_s:
        yield at_s
        count += 1
        at_s = count / rate if kind == "constant" else at_s + random.expovariate(rate)
