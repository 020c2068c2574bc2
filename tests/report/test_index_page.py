"""The index bench's page is one document with a plot for each goal, and asks for nothing."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

from sidebeam.knowledge.index_bench import Row
from sidebeam.report.index_page import page, plots

ROW = Row(
    tokens=10_000,
    build_per_s=4e6,
    build_s=0.01,
    bytes_per_token=23.2,
    open_ms=1.4,
    extend_us=0.8,
    tiers_extend_us=1.1,
    p50=12.5,
    p99=29.9,
    quiet_p50=11.4,
    quiet_p99=15.9,
    tiers_quiet_p50=13.4,
    tiers_quiet_p99=18.5,
    tokens_per_draft=1.92,
    drafts=3000,
    trie_build_per_s=5e4,
    trie_bytes_per_token=2100.0,
    trie_p50=34.6,
    trie_p99=2323.6,
    trie_tokens_per_draft=1.89,
)
NO_TRIE = replace(
    ROW,
    tokens=10_000_000,
    trie_build_per_s=None,
    trie_bytes_per_token=None,
    trie_p50=None,
    trie_p99=None,
    trie_tokens_per_draft=None,
)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.asked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.asked += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_has_plots_goals_and_all_rows() -> None:
    text = page([ROW, NO_TRIE], "told")
    tags = Tags()
    tags.feed(text)
    assert tags.seen.count("figure") == 3
    assert tags.seen.count("tr") == 3
    assert not tags.asked
    assert "script" not in tags.seen
    assert "goal: draft p99, all tiers, at most 50 us: 18.5, met" in text


def test_the_trie_is_drawn_where_it_was_measured() -> None:
    drafts = plots([ROW, NO_TRIE])[0]
    points = {series.name: series.points for series in drafts.series}
    assert points["trie, p99"] == [(10_000.0, 2323.6)]
    assert [x for x, _ in points["index, p99"]] == [10_000.0, 10_000_000.0]
    alone = plots([NO_TRIE])[0]
    assert {series.name for series in alone.series} == {"index, p50", "index, p99", "all tiers, p50", "all tiers, p99"}
