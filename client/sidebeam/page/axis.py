"""Axes of charts: round numbers to stand at them, and names that do not overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence

STEPS = (1, 2, 2.5, 5, 10)


def scale(highest: float) -> list[float]:
    """Round numbers from 0 to the first one that is not below `highest`, four to six of them in most cases."""
    power = 10.0 ** math.floor(math.log10(highest / 4))
    step = next(power * factor for factor in STEPS if power * factor * 5 >= highest)
    return [round(i * step, 12) for i in range(math.ceil(highest / step - 1e-9) + 1)]


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places near `wanted` that are `gap` apart where there is room, within `low` and `high`."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    places = [0.0] * len(wanted)
    last = low - gap
    for i in order:
        last = places[i] = max(wanted[i], last + gap)
    last = high + gap
    for i in reversed(order):
        last = places[i] = min(places[i], last - gap)
    return places
