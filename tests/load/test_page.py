"""The page: well-formed, asks for nothing from outside, takes names for text, shows every step; and its plots."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from sidebeam.load.document import SCHEMA, document
from sidebeam.load.findings import sentences
from sidebeam.load.page import page
from sidebeam.load.plot import Mark, Plot, Series, fitting, linear
from sidebeam.load.report import Report

VOID = {"meta", "br"}
ASKING = {"src", "href", "xlink:href", "srcset", "data", "action", "poster", "background"}
NASTY = 'users <script>alert("&")</script>'

Make = Callable[..., Any]


class Checker(HTMLParser):
    """Follows tags and collects text and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def swept(summary: Make, report: Make) -> Report:
    """Two rates: one good, one that failed, was slow, and ran on a late client."""
    good = summary([{"name": NASTY, "first_beams": 100.0 + i / 10 + 0.01} for i in range(90)], slo_ms=50.0)
    codes = [{"code": "UNAVAILABLE", "reason": "<b>", "message": NASTY}, {"took_ms": 900.0}, {}]
    bad = summary([codes[i % 3] for i in range(90)], rate=20.0, slo_ms=50.0, late_ms=80.0)
    made: Report = report(good, bad, rules=["p99_ms>80", "knee_rps<5"], interrupted=True)
    return made


def test_it_is_well_formed_and_refers_to_nothing(swept: Report, report: Make, summary: Make) -> None:
    nothing = summary([{"code": "UNAVAILABLE"}] * 3)
    for made in (
        swept,
        report(swept.summaries[0]),
        report(nothing),
        report(summary([{}], rate=None)),
        report(nothing, swept.summaries[1]),
    ):
        html = page(made)
        checked = Checker(html)
        assert checked.open == []
        assert checked.tags.count("h1") == 1
        assert not ASKING & {name for name, _ in checked.attributes}
        assert not {"script", "link", "img", "iframe", "object", "embed", "use", "image"} & set(checked.tags)
        assert not [name for name, _ in checked.attributes if name.startswith("on")]
        assert "://" not in html
        assert not re.search(r"url\(|@import|@font-face|NaN|nan\b|Infinity", html)
        assert "default-src 'none'" in html


def test_names_are_text(swept: Report) -> None:
    html = page(swept)
    assert "<script" not in html
    assert any(NASTY in text for text in Checker(html).texts)


def test_every_number_stands_within_its_drawing(swept: Report) -> None:
    for width, height, body in re.findall(r'viewBox="0 0 (\d+) (\d+)"[^>]*>(.*?)</svg>', page(swept)):
        for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", " ".join(re.findall(r'points="([^"]*)"', body))):
            assert 0 <= float(x) <= float(width)
            assert 0 <= float(y) <= float(height)


def test_both_colour_schemes_have_every_colour(swept: Report) -> None:
    light, dark = page(swept).split("prefers-color-scheme: dark", 1)
    used = set(re.findall(r"var\((--[a-z0-9]+)\)", dark))
    assert len(used) >= 10
    for colour in used:
        assert f"{colour}:" in light
        assert f"{colour}:" in dark


def test_what_spoils_a_run_is_said_first(swept: Report) -> None:
    told = sentences(swept)
    assert [each.tone for each in told[:4]] == ["bad", "bad", "good", "bad"]
    assert told[0].text.startswith("Interrupted: 20 requests/s measured for 10.0 of 10 s")
    assert told[1].text.startswith(
        "Do not trust the figures of 20 requests/s: the client itself was the bottleneck: its event"
    )
    assert told[2].text == "--fail-if 'p99_ms>80' passed at 10 requests/s: p99_ms is 20."
    assert told[3].text == "--fail-if 'p99_ms>80' FAILED at 20 requests/s: p99_ms is 900."
    text = " ".join(each.text for each in told)
    assert "The knee lies at 10/s: at 20/s 33.3% of the arrivals were answered within the SLO; 99% must be; but" in text
    assert "times are of answers only; 33.3% of the arrivals got none" in text
    assert "The client kept up" not in text


def test_the_json_holds_every_figure(swept: Report) -> None:
    content = json.loads(document(swept))
    assert (content["schema"], content["kind"]) == (SCHEMA, "sidebeam load")
    assert (content["interrupted"], content["trusted"]) == (True, False)
    good, bad = content["steps"]
    assert good["latency"]["answer"]["count"] == good["answered"] == 90
    assert good["latency"]["first_beams"]["p50_ms"] == pytest.approx(10.0, abs=0.01)
    assert good["latency"]["first_provisional"] == {"count": 0} | {
        name: None for name in good["latency"]["answer"] if name != "count"
    }
    assert good["groups"] == [{"name": NASTY, "requests": 90, "answered": 90, "latency": good["latency"]["answer"]}]
    assert bad["errors"] == [{"code": "UNAVAILABLE", "reason": "<b>", "count": 30, "example": NASTY}]
    assert bad["goodput"] == 30
    assert bad["client"]["reasons"]
    assert content["knee"]["rate"] == 10.0
    assert [rule["broken"] for rule in content["rules"]] == [False, True, False]
    assert sum(each["arrivals"] for each in bad["timeline"]["bins"]) == 90


@pytest.mark.parametrize(
    ("values", "log"),
    [([20.0, 22.0, 300.0], False), ([20.0, 22.0, 900.0], True), ([], False), ([0.0, 0.0], False), ([3.0], False)],
)
def test_an_axis_fits_its_values(values: list[float], log: bool) -> None:
    axis = fitting("ms", values)
    assert axis.log == log
    assert 2 <= len(axis.ticks) <= 12
    places = [axis.place(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(0 <= place <= 1 for place in places)
    assert [axis.place(value) for value, _ in axis.ticks] == sorted(axis.place(value) for value, _ in axis.ticks)


def test_a_plot_draws_points_where_they_belong() -> None:
    axis = linear("x", 10.0)
    plot = Plot(
        "T <1>", axis, linear("y", 4.0), [Series("a & b", 5, [(0, 0), (5, 2), (10, 4)])], [Mark("y", 2.0, "<m>")]
    )
    figure = plot.figure()
    (points,) = re.findall(r'polyline points="([^"]*,[^"]*,[^"]*,[^"]*)"', figure)
    (x0, y0), (x1, y1), (x2, y2) = (tuple(map(float, point.split(","))) for point in points.split())
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.11)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.11)
    assert y2 < y0
    assert f'y1="{y1:.1f}" x2' in figure  # the mark
    for text in ("T &lt;1&gt;", "a &amp; b", "&lt;m&gt;"):
        assert text in figure
