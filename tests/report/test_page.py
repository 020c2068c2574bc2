"""The page: well-formed, asks for nothing from outside, and takes names for text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from sidebeam.catalog import Catalog
from sidebeam.evaluation.arm import Answer
from sidebeam.evaluation.arm_name import GENERATE, NEIGHBOURS, POPULARITY, ArmName
from sidebeam.evaluation.findings import Findings, Judge
from sidebeam.evaluation.scene import Scene
from sidebeam.evaluation.study import Track
from sidebeam.report.document import document
from sidebeam.report.page import page
from sidebeam.report.summary import sentences
from sidebeam.report.table import tables

VOID = {"meta", "br", "hr", "img", "input", "link"}
ASKING = {"src", "href", "xlink:href", "srcset", "data", "action", "poster", "background"}
NASTY = 'model <script>alert("&")</script>'
OFF, MODEL = ArmName("strict", "off"), ArmName("strict", NASTY)
DRAWN, DRAWN_MODEL = ArmName("relaxed", "off"), ArmName("relaxed", NASTY)
WIDTHS = (1, 3)


class Checker(HTMLParser):
    """Follows tags and collects text and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []

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


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    codes = np.stack(np.unravel_index(np.arange(27), (3, 3, 3)), axis=1) + 10 * np.arange(3)
    return Catalog.build([str(i) for i in range(27)], codes)


@pytest.fixture(scope="module")
def findings(catalog: Catalog) -> Findings:
    """Five arms, each a little faster than the one before; strict drafts change one answer in four."""
    random = np.random.default_rng(0)
    tracks = []
    for k in WIDTHS:
        for i, name in enumerate((GENERATE, OFF, MODEL, DRAWN, DRAWN_MODEL)):
            answers = [plain(user, k, 50 - 9 * i + random.uniform(-1, 1)) for user in range(40)]
            if name == MODEL:
                answers[::4] = [replace(answer, leaves=answer.leaves[::-1]) for answer in answers[::4]]
                answers = [replace(answer, passes=2, depths=(2, 1)) for answer in answers]
            if name == GENERATE:
                answers = [replace(answer, drafted=(), needed=()) for answer in answers]
            tracks.append(Track(name, k, answers))
    judge = Judge(catalog, True, [np.array([user % 27]) for user in range(40)], seed=0)
    lists = np.tile(np.arange(WIDTHS[-1]), (40, 1))
    return judge.findings(tracks, {POPULARITY: lists, NEIGHBOURS: lists[:, ::-1]})


def plain(user: int, k: int, ms: float) -> Answer:
    leaves = [(user + i) % 27 for i in range(k)]
    counts = (3, 2)
    return Answer(leaves, -np.arange(k, dtype=np.float32), ms, 3, 12 * k, (1, 1, 1), counts, (min(k, 3), min(k, 2)))


@pytest.fixture(scope="module")
def scene(catalog: Catalog) -> Scene:
    return Scene(
        made="2030-01-01T00:00:00+00:00",
        versions={"python": "3.11"},
        machine={"processor": "<b>", "cores": 2, "threads": 1, "device": "cpu", "dtype": "float32"},
        bundle={"name": "a & b", "items": 27, "sid_length": 3, "scoring": "raw"},
        users={"measured": 40, "test_users": 50},
        settings={"draft_folders": {NASTY: "there"}, "users": None},
    )


@pytest.fixture(scope="module")
def html(scene: Scene, findings: Findings) -> str:
    return page(scene, findings)


@pytest.fixture(scope="module")
def checked(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    return checker


def test_every_tag_is_closed_in_its_place(checked: Checker) -> None:
    assert checked.open == []
    assert checked.tags.count("html") == checked.tags.count("body") == checked.tags.count("h1") == 1


def test_it_refers_to_nothing(checked: Checker, html: str) -> None:
    assert not ASKING & {name for name, _ in checked.attributes}
    assert not {"script", "link", "img", "iframe", "object", "embed", "use", "image"} & set(checked.tags)
    assert not [name for name, _ in checked.attributes if name.startswith("on")]
    assert "://" not in html
    assert not re.search(r"url\(|@import|@font-face", html)
    assert "default-src 'none'" in dict(checked.attributes).values() or "default-src 'none'" in html


def test_names_are_text(checked: Checker, html: str) -> None:
    assert "<script" not in html
    assert any(NASTY in text for text in checked.texts)
    assert "a & b" in " ".join(checked.texts)


def test_every_arm_and_every_plot_is_there(checked: Checker, findings: Findings) -> None:
    text = " ".join(checked.texts)
    for name in findings.arms:
        assert name.label in text
    for title in ("Recall@K", "NDCG@K", "Mean time of a request", "Target passes of a request", "K = 1", "K = 3"):
        assert title in checked.texts
    assert checked.tags.count("figure") == 2 + 4 + len(WIDTHS)
    assert "popularity" in text
    assert "neighbours" in text


def test_both_colour_schemes_have_every_colour(html: str) -> None:
    light, dark = html.split("prefers-color-scheme: dark", 1)
    used = set(re.findall(r"var\((--[a-z0-9]+)\)", html))
    assert len(used) >= 15
    for colour in used:
        assert f"{colour}:" in light
        assert f"{colour}:" in dark


def test_the_summary_names_what_went_wrong(scene: Scene, findings: Findings) -> None:
    told = " ".join(sentences(scene, findings))
    assert "Under strict verification 10 of 80 answers with drafts differ from plain search's" in told
    assert f"most by strict {NASTY} at K = 3, where 75.00% are identical" in told
    assert "Under relaxed verification all 80 answers" in told
    assert "2.00 (2.00 to 2.00) instead of 3.00" in told
    assert "Only 40 users were measured" in told


def test_the_json_holds_every_figure(scene: Scene, findings: Findings) -> None:
    content = json.loads(document(scene, findings))
    assert content["schema"] == 1
    assert len(content["costs"]) == 5 * len(WIDTHS)
    assert len(content["quality"]) == 7 * 3
    assert content["made"] == scene.made
    assert content["costs"][0]["arm"] == {"verification": "", "draft": "generate", "label": "generate"}


def test_the_terminal_shows_costs_and_quality(findings: Findings) -> None:
    text = tables(findings)
    lines = text.splitlines()
    assert sum(MODEL.label in line for line in lines) == len(WIDTHS) + 1
    assert any(line.startswith("popularity") for line in lines)
    assert any(line.startswith("neighbours") for line in lines)
    assert "Recall@3" in text
