"""Plots over continuous axes as SVG inside a page: no script, no font, nothing from outside."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from sidebeam.page.axis import scale

LEFT, TOP, RIGHT, BOTTOM = 52, 26, 16, 40  # margins
LOG_FROM = 20.0  # a linear axis would press together what is so many times smaller than the highest
DOT = 1.9

Tick = tuple[float, str]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Axis:
    """From `low` to `high`; with `log`, equal distances are equal ratios."""

    title: str
    low: float
    high: float
    ticks: tuple[Tick, ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value stands, 0 at `low` and 1 at `high`; those beyond the ends stand at the ends."""
        value = min(max(value, self.low), self.high)
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def linear(title: str, highest: float) -> Axis:
    """From 0 to a round number not below `highest`."""
    values = scale(highest or 1.0)
    return Axis(title, 0.0, values[-1], tuple((value, f"{value:,g}") for value in values))


def fitting(title: str, values: Iterable[float]) -> Axis:
    """Linear from 0, or logarithmic where a tenth of the values would lie at the bottom of it."""
    ordered = sorted(value for value in values if value > 0)
    if not ordered or ordered[-1] < LOG_FROM * ordered[len(ordered) // 10]:
        return linear(title, ordered[-1] if ordered else 1.0)
    low, high = 10.0 ** math.floor(math.log10(ordered[0])), ordered[-1]
    steps = [factor * 10.0**power for power in range(-6, 8) for factor in (1, 2, 5)]
    high = next(step for step in steps if step >= high * (1 - 1e-9))
    shown = [step for step in steps if low * 0.999 <= step <= high * 1.001]
    ticks = tuple((step, f"{step:,g}") for step in shown if len(shown) <= 8 or f"{step:e}".startswith("1"))
    return Axis(title, low, high, ticks, log=True)


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one colour: joined by a line, joined and marked, or dots alone."""

    name: str
    style: int
    points: Sequence[Point]
    kind: Literal["line", "marked", "dots"] = "line"
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A line across the plot at a value of the x or the y axis."""

    axis: Literal["x", "y"]
    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Series over two axes."""

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    marks: Sequence[Mark] = ()
    width: int = 560
    height: int = 300

    def figure(self) -> str:
        """The plot with its title and what each colour means, as an HTML figure."""
        body = "".join([*self._grid(), *map(self._drawn, self.series), *map(self._marked, self.marks)])
        label = escape(f"{self.title}: {self.y.title} by {self.x.title}")
        return (
            f"<figure><figcaption>{escape(self.title)}</figcaption>{legend(self.series)}"
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{label}">{body}</svg></figure>'
        )

    def _x(self, value: float) -> float:
        return LEFT + self.x.place(value) * (self.width - LEFT - RIGHT)

    def _y(self, value: float) -> float:
        return self.height - BOTTOM - self.y.place(value) * (self.height - TOP - BOTTOM)

    def _grid(self) -> Iterable[str]:
        right, bottom = self.width - RIGHT, self.height - BOTTOM
        for value, text in self.y.ticks:
            y = self._y(value)
            yield f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>'
            yield f'<text class="tick end" x="{LEFT - 6}" y="{y + 4:.1f}">{escape(text)}</text>'
        for value, text in self.x.ticks:
            x = self._x(value)
            yield f'<line class="grid" x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 4}"/>'
            yield f'<text class="tick mid" x="{x:.1f}" y="{bottom + 17}">{escape(text)}</text>'
        yield f'<text class="tick mid" x="{(LEFT + right) / 2:.1f}" y="{bottom + 34}">{escape(self.x.title)}</text>'
        yield f'<text class="tick" x="4" y="{TOP - 14}">{escape(self.y.title)}</text>'

    def _drawn(self, series: Series) -> str:
        at = [(self._x(x), self._y(y), x, y) for x, y in series.points]
        parts = []
        if series.kind != "dots":
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in at)
            parts.append(f'<polyline points="{path}"/>')
        if series.kind == "dots":
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{DOT}"/>' for x, y, _, _ in at]
        if series.kind == "marked":
            for x, y, of_x, of_y in at:
                told = escape(f"{series.name}, {self.x.title} {of_x:,g}: {of_y:,.4g} {self.y.title}")
                parts.append(f'<circle class="spot" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{told}</title></circle>')
        return f'<g class="{_classes(series)}">{"".join(parts)}</g>'

    def _marked(self, mark: Mark) -> str:
        right, bottom, label = self.width - RIGHT, self.height - BOTTOM, escape(mark.label)
        if mark.axis == "x":
            x = self._x(mark.value)
            side, away = ("end", -5) if x > self.width / 2 else ("", 5)
            return (
                f'<line class="reference" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}"/>'
                f'<text class="label {side}" x="{x + away:.1f}" y="{TOP + 11}">{label}</text>'
            )
        y = self._y(mark.value)
        return (
            f'<line class="reference" x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>'
            f'<text class="label end" x="{right - 4}" y="{y - 5:.1f}">{label}</text>'
        )


def legend(series: Sequence[Series]) -> str:
    """Which colour is whose."""
    entries = []
    for each in series:
        glyph = '<circle cx="10" cy="6" r="3.2"/>' if each.kind == "dots" else '<polyline points="1,6 19,6"/>'
        entries.append(
            f'<span><svg viewBox="0 0 20 12" width="20" height="12" aria-hidden="true">'
            f'<g class="{_classes(each)}">{glyph}</g></svg>{escape(each.name)}</span>'
        )
    return f'<p class="legend">{"".join(entries)}</p>'


def _classes(series: Series) -> str:
    kind = "dots" if series.kind == "dots" else "line"
    return f"{kind} s{series.style % 10}{' dashed' if series.dashed else ''}"
