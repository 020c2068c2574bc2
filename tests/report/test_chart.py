"""Charts: round axes, names that do not overlap, marks where the figures are."""

from __future__ import annotations

import itertools
from html.parser import HTMLParser

import pytest

from sidebeam.evaluation.interval import Estimate
from sidebeam.report.chart import Chart, Line, legend, scale, spread
from sidebeam.report.marker import STYLES, marker


@pytest.mark.parametrize("highest", [1e-6, 0.03, 0.2, 0.99, 1.0, 3.7, 4.0, 27.3, 100.0, 666.0, 1564.0])
def test_scales_are_round_and_just_reach_the_highest(highest: float) -> None:
    values = scale(highest)
    step = values[1]
    assert values[0] == 0.0
    assert values[-2] < highest <= values[-1] * (1 + 1e-9)
    assert 3 <= len(values) <= 7
    assert f"{step:.1e}"[:3] in ("1.0", "2.0", "2.5", "5.0")
    assert values == pytest.approx([i * step for i in range(len(values))])


def test_names_are_moved_apart_and_stay_within_the_plot() -> None:
    places = spread([50.0, 50.0, 51.0, 200.0, 249.0, 250.0], 14, 10, 250)
    ordered = sorted(places)
    assert all(after - before >= 14 - 1e-9 for before, after in itertools.pairwise(ordered))
    assert ordered[0] >= 10
    assert ordered[-1] <= 250
    assert places[3] == 200.0  # had room


def test_too_many_names_share_the_room_there_is() -> None:
    places = spread([100.0] * 40, 14, 0, 240)
    assert min(places) >= -1e-9
    assert max(places) <= 240


def test_every_style_has_a_shape_of_its_own() -> None:
    shapes = {marker(style, 0, 0) for style in range(STYLES)}
    assert len(shapes) == STYLES


def test_a_chart_draws_every_estimate_where_it_belongs() -> None:
    line = Line("auto", 2, False, ((0, Estimate(1.0, 0.5, 2.0)), (1, Estimate(4.0, 3.0, 4.0))))
    chart = Chart("Speed", "K", ("1", "10"), (line,), "x", reference=1.0)
    intervals = Intervals()
    intervals.feed(chart.figure())
    (first, second), (low, high) = intervals.xs, intervals.ys
    assert first < second
    # 4 is the top of the plot and 0 the bottom; 1 unit is a quarter of that
    unit = (chart.height - 40 - 10) / 4
    assert low == pytest.approx((10 + 3.5 * unit, 10 + 2 * unit), abs=0.1)
    assert high == pytest.approx((10 + unit, 10), abs=0.1)


def test_dashes_tell_what_colour_does_and_names_are_text() -> None:
    lines = (Line("a & b", 4, True, ((0, Estimate(1, 1, 1)),)), Line("c", 4, False, ((0, Estimate(2, 2, 2)),)))
    figure = Chart("T <1>", "K", ("1",), lines).figure()
    assert figure.count('class="line s4 dashed"') == 2  # the line, and its name
    assert figure.count('class="line s4"') == 2
    assert "a &amp; b" in figure
    assert "T &lt;1&gt;" in figure
    assert "a &amp; b" in legend(lines)


class Intervals(HTMLParser):
    """Collects where intervals stand."""

    def __init__(self) -> None:
        super().__init__()
        self.xs: list[float] = []
        self.ys: list[tuple[float, float]] = []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("class") == "interval":
            self.xs.append(float(given["x1"] or 0))
            self.ys.append((float(given["y1"] or 0), float(given["y2"] or 0)))
