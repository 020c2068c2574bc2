"""Line charts with intervals, as SVG inside a page: no script, no font, nothing from outside.

A line is known by colour, marker and dashes, and by its name at the right end; colours are the page's to define.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from sidebeam.evaluation.interval import Estimate
from sidebeam.page.axis import scale, spread
from sidebeam.report.marker import STYLES, marker

LEFT, TOP, BOTTOM, RIGHT = 46, 10, 40, 12  # margins
NAME_WIDTH = 148  # for names at the right
NAME_GAP = 14  # between two of them
DODGE = 7  # at most, between the markers of one tick


@dataclass(frozen=True, slots=True)
class Line:
    """One arm; `points` are (tick, estimate) in order. Dashed lines have hollow markers."""

    name: str
    style: int
    dashed: bool
    points: tuple[tuple[int, Estimate], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """`factor` turns an estimate into what is drawn, as 100 for percent; `reference` is drawn across."""

    title: str
    x_title: str
    ticks: tuple[str, ...]
    lines: tuple[Line, ...]
    unit: str = ""
    factor: float = 1
    reference: float | None = None
    named: bool = True  # names at the right; without, the page needs a legend
    width: int = 560
    height: int = 300

    def figure(self) -> str:
        """The chart with its title as an HTML figure."""
        body = "".join(
            [*self._grid(), *self._reference(), *(self._line(i) for i in range(len(self.lines))), *self._names()]
        )
        label = escape(f"{self.title}, by {self.x_title}")
        return (
            f'<figure><figcaption>{escape(self.title)}</figcaption><svg viewBox="0 0 {self.width} {self.height}" '
            f'role="img" aria-label="{label}">{body}</svg></figure>'
        )

    @property
    def _plot(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the area within the axes."""
        right = self.width - RIGHT - (NAME_WIDTH if self.named else 0)
        return LEFT, TOP, right, self.height - BOTTOM

    @property
    def _highest(self) -> float:
        highs = [estimate.high for line in self.lines for _, estimate in line.points]
        return max([self.factor * high for high in highs] + [self.reference or 0]) or 1.0

    def _x(self, tick: int) -> float:
        left, _, right, _ = self._plot
        return left + (tick + 0.5) * (right - left) / len(self.ticks)

    def _y(self, value: float) -> float:
        _, top, _, bottom = self._plot
        return bottom - (bottom - top) * value / scale(self._highest)[-1]

    def _grid(self) -> list[str]:
        left, _, right, bottom = self._plot
        found = []
        for value in scale(self._highest):
            y = self._y(value)
            found.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
            found.append(f'<text class="tick end" x="{left - 6}" y="{y + 4:.1f}">{value:,g}{escape(self.unit)}</text>')
        for tick, text in enumerate(self.ticks):
            found.append(f'<text class="tick mid" x="{self._x(tick):.1f}" y="{bottom + 17}">{escape(text)}</text>')
        middle = (left + right) / 2
        found.append(f'<text class="tick mid" x="{middle:.1f}" y="{bottom + 34}">{escape(self.x_title)}</text>')
        return found

    def _reference(self) -> list[str]:
        if self.reference is None:
            return []
        left, _, right, _ = self._plot
        y = self._y(self.reference)
        return [f'<line class="reference" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>']

    def _dodge(self, i: int) -> float:
        """Markers of one tick stand side by side, so that their intervals can be told apart."""
        left, _, right, _ = self._plot
        room = (right - left) / len(self.ticks) * 0.7
        step = min(DODGE, room / len(self.lines))
        return (i - (len(self.lines) - 1) / 2) * step

    def _line(self, i: int) -> str:
        line = self.lines[i]
        at = [(self._x(tick) + self._dodge(i), estimate) for tick, estimate in line.points]
        path = " ".join(f"{x:.1f},{self._y(self.factor * estimate.value):.1f}" for x, estimate in at)
        parts = [f'<polyline points="{path}"/>']
        for (x, estimate), (tick, _) in zip(at, line.points, strict=True):
            low, high = self.factor * estimate.low, self.factor * estimate.high
            value = self.factor * estimate.value
            told = (
                f"{line.name}, {self.x_title} {self.ticks[tick]}: {value:,.4g}{self.unit} ({low:,.4g} to {high:,.4g})"
            )
            parts.append(
                f"<g><title>{escape(told)}</title>"
                f'<line class="interval" x1="{x:.1f}" y1="{self._y(low):.1f}" x2="{x:.1f}" y2="{self._y(high):.1f}"/>'
                f"{marker(line.style, x, self._y(value))}</g>"
            )
        return f'<g class="{classes(line)}">{"".join(parts)}</g>'

    def _names(self) -> list[str]:
        """Each line's name beside its last point, moved apart where they would overlap."""
        if not self.named:
            return []
        ended = [line for line in self.lines if line.points]
        wanted = [self._y(self.factor * line.points[-1][1].value) for line in ended]
        _, top, right, bottom = self._plot
        found = []
        for line, y in zip(ended, spread(wanted, NAME_GAP, top, bottom), strict=True):
            glyph = marker(line.style, right + 10, y)
            text = f'<text class="name" x="{right + 19}" y="{y + 4:.1f}">{escape(shortened(line.name))}</text>'
            found.append(f'<g class="{classes(line)}">{glyph}{text}</g>')
        return found


def legend(lines: Sequence[Line]) -> str:
    """What line is whose, for charts without names."""
    entries = []
    for line in lines:
        glyph = (
            f'<svg viewBox="0 0 30 14" width="30" height="14" aria-hidden="true"><g class="{classes(line)}">'
            f'<polyline points="1,7 29,7"/>{marker(line.style, 15, 7)}</g></svg>'
        )
        entries.append(f"<span>{glyph}{escape(line.name)}</span>")
    return f'<p class="legend">{"".join(entries)}</p>'


def classes(line: Line) -> str:
    """What the page's style knows the line by."""
    return f"line s{line.style % STYLES}{' dashed' if line.dashed else ''}"


def shortened(name: str, most: int = 22) -> str:
    """A name that fits the margin."""
    return name if len(name) <= most else name[: most - 1] + "…"
