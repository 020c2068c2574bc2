"""The index bench as one HTML page that asks for nothing: time, memory and building by pool size, beside a trie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from importlib import resources

from sidebeam.knowledge.index_bench import Row, goals
from sidebeam.load.plot import Axis, Mark, Plot, Series, fitting
from sidebeam.page.frame import document

BLUE, RED, TEAL, AMBER = 5, 6, 2, 0  # of page.css
TITLE = "Drafts from pools, by how large the pool is"
SOURCES = {
    "told": "Texts of the knowledge demo's world; beyond a million tokens they are repeated, one token in 50 another.",
    "drawn": "Sentences of random words, each said in some ways, two words of each and one in 50 any others.",
}
Pick = Callable[[Row], float | None]


def page(rows: Sequence[Row], texts: str) -> str:
    """The whole document."""
    style = resources.files("sidebeam.load").joinpath("page.css").read_text(encoding="utf-8")
    parts = [
        f"<h1>{escape(TITLE)}</h1>",
        f'<p class="meta">{escape(SOURCES[texts])} Drafts of up to 63 nodes; one thread.</p>',
        '<ul class="summary">' + "".join(f"<li>{escape(each)}</li>" for each in goals(rows)) + "</ul>",
        f'<div class="charts">{"".join(plot.figure() for plot in plots(rows))}</div>',
        _table(rows),
        '<p class="note">Times of the index are each draft\'s least of five runs through all of them, thousands of '
        "others between: what a machine without other work would show. <em>All tiers</em>: a group's pool of an eighth "
        "of the texts, the entity's earlier text and the request's own beside the pool of all. The trie is kept in the "
        "manner of LASER's reference code, dictionaries of dictionaries, and is left out where it would need too much "
        "memory.</p>",
    ]
    return document(TITLE, parts, style)


def plots(rows: Sequence[Row]) -> list[Plot]:
    """Time of drafts, memory and speed of building, all over the pool's tokens."""
    across = _sizes(rows)
    drafts = [
        Series("index, p50", BLUE, _points(rows, lambda row: row.quiet_p50), "marked"),
        Series("index, p99", BLUE, _points(rows, lambda row: row.quiet_p99), "marked", dashed=True),
        Series("all tiers, p50", TEAL, _points(rows, lambda row: row.tiers_quiet_p50), "marked"),
        Series("all tiers, p99", TEAL, _points(rows, lambda row: row.tiers_quiet_p99), "marked", dashed=True),
        Series("trie, p50", RED, _points(rows, lambda row: row.trie_p50), "marked"),
        Series("trie, p99", RED, _points(rows, lambda row: row.trie_p99), "marked", dashed=True),
    ]
    memory = [
        Series("index", BLUE, _points(rows, lambda row: row.bytes_per_token), "marked"),
        Series("trie", RED, _points(rows, lambda row: row.trie_bytes_per_token), "marked"),
    ]
    built = [
        Series("index", BLUE, _points(rows, lambda row: row.build_per_s), "marked"),
        Series("trie", RED, _points(rows, lambda row: row.trie_build_per_s), "marked"),
    ]
    return [
        _plot("Time of a draft", "us", across, drafts, Mark("y", 50, "goal: at most 50")),
        _plot("Memory", "bytes per token", across, memory, Mark("y", 40, "goal: at most 40")),
        _plot("Building", "tokens per second", across, built, Mark("y", 1e6, "goal: at least 1,000,000")),
    ]


def _plot(title: str, unit: str, across: Axis, series: list[Series], goal: Mark) -> Plot:
    drawn = [each for each in series if each.points]
    values = [y for each in drawn for _, y in each.points]
    return Plot(title, across, fitting(unit, [*values, goal.value]), drawn, [goal])


def _sizes(rows: Sequence[Row]) -> Axis:
    sizes = sorted(row.tokens for row in rows)
    ticks = [(10.0**power, f"{10**power:,}") for power in range(1, 11)]
    low, high = sizes[0] / 1.5, sizes[-1] * 1.5
    return Axis("tokens in the pool", low, high, tuple(each for each in ticks if low <= each[0] <= high), log=True)


def _points(rows: Sequence[Row], pick: Pick) -> list[tuple[float, float]]:
    found = ((float(row.tokens), pick(row)) for row in rows)
    return [(tokens, value) for tokens, value in found if value is not None]


COLUMNS: tuple[tuple[str, str, Pick], ...] = (
    ("tokens", ",.0f", lambda row: row.tokens),
    ("build, tokens/s", ",.0f", lambda row: row.build_per_s),
    ("bytes per token", ".1f", lambda row: row.bytes_per_token),
    ("extend, us per token", ".2f", lambda row: row.extend_us),
    ("draft p50, us", ".1f", lambda row: row.quiet_p50),
    ("p99", ".1f", lambda row: row.quiet_p99),
    ("all tiers: extend", ".2f", lambda row: row.tiers_extend_us),
    ("p50", ".1f", lambda row: row.tiers_quiet_p50),
    ("p99", ".1f", lambda row: row.tiers_quiet_p99),
    ("tokens per draft", ".2f", lambda row: row.tokens_per_draft),
    ("trie: build, tokens/s", ",.0f", lambda row: row.trie_build_per_s),
    ("bytes per token", ",.0f", lambda row: row.trie_bytes_per_token),
    ("draft p50, us", ",.1f", lambda row: row.trie_p50),
    ("p99", ",.1f", lambda row: row.trie_p99),
    ("tokens per draft", ".2f", lambda row: row.trie_tokens_per_draft),
)


def _table(rows: Sequence[Row]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name, _, _ in COLUMNS)
    body = "".join(
        "<tr>" + "".join(f"<td>{_shown(pick(row), form)}</td>" for _, form, pick in COLUMNS) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
