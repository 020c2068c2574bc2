"""The markers of charts: a shape of its own for each style."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

RADIUS = 4.5

Corners = Sequence[tuple[float, float]]  # around (0, 0), within the unit circle


def marker(style: int, x: float, y: float) -> str:
    """The style's marker as an SVG polygon, or circle, around a point."""
    shape = SHAPES[style % STYLES]
    if shape is None:
        return f'<circle class="marker" cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS * 0.85:.1f}"/>'
    points = " ".join(f"{x + RADIUS * dx:.1f},{y + RADIUS * dy:.1f}" for dx, dy in shape)
    return f'<polygon class="marker" points="{points}"/>'


def _around(corners: int, first: float, radius: Callable[[int], float] = lambda _: 1.0) -> Corners:
    """Corners at equal angles; the first stands at `first` turns from the right, going down."""
    turns = [2 * math.pi * (first + i / corners) for i in range(corners)]
    return [(radius(i) * math.cos(turn), radius(i) * math.sin(turn)) for i, turn in enumerate(turns)]


def _plus(arm: float = 0.18) -> Corners:
    quarter = [(1.05, arm), (arm, arm), (arm, 1.05)]
    turned = [quarter]
    for _ in range(3):
        turned.append([(-y, x) for x, y in turned[-1]])
    return [corner for part in turned for corner in part]


def _cross() -> Corners:
    half = math.sqrt(0.5)
    return [(half * (x - y), half * (x + y)) for x, y in _plus()]


SHAPES: tuple[Corners | None, ...] = (
    [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],  # square
    None,  # circle
    _around(3, -0.25),  # triangle
    _around(4, 0.0),  # diamond
    _around(3, 0.25),  # triangle on its point
    _plus(),
    _around(5, -0.25),  # pentagon
    _around(10, -0.25, lambda i: 1.15 if i % 2 == 0 else 0.5),  # star
    _around(6, 0.0),  # hexagon
    _cross(),
)
STYLES = len(SHAPES)
