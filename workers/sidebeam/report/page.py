"""The report as one HTML page that asks for nothing: style and drawings are in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from sidebeam.evaluation.arm_name import GENERATE
from sidebeam.evaluation.findings import Cost, Findings
from sidebeam.evaluation.neighbours import LATEST
from sidebeam.evaluation.scene import Scene
from sidebeam.page.frame import document
from sidebeam.report import plots, tabulation
from sidebeam.report.chart import Chart, legend
from sidebeam.report.summary import sentences
from sidebeam.report.wording import interval, number, ratio, share


def page(scene: Scene, findings: Findings) -> str:
    """The whole document."""
    title = f"Sidebeam evaluation: {scene.bundle['name']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="meta">{escape(_subtitle(scene))}</p>',
        _tiles(findings),
        '<ul class="summary">' + "".join(f"<li>{escape(each)}</li>" for each in sentences(scene, findings)) + "</ul>",
        *_quality(findings),
        *_speed(findings),
        *_acceptance(scene, findings),
        *_method(scene),
    ]
    return document(title, parts)


def _subtitle(scene: Scene) -> str:
    users, bundle, machine = scene.users, scene.bundle, scene.machine
    threads = "1 thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
    return (
        f"{users['measured']:,} of {users['test_users']:,} test users · {bundle['items']:,} items, SIDs of "
        f"{bundle['sid_length']} tokens · {machine['device']}, {machine['dtype']}, {threads}"
    )


def _tiles(findings: Findings) -> str:
    """The few figures that a reader looks for first, at the greatest width."""
    k = findings.widths[-1]
    tiles = []
    ours = [cost for cost in findings.costs if cost.top_k == k and cost.arm.verification]
    quality = findings.quality_of(ours[0].arm.off, k, k)
    if quality is not None:
        tiles.append((f"Recall@{k}, {quality.arm.label}", share(quality.recall), interval(quality.recall, 100, 1)))
    best = min(ours, key=lambda cost: cost.ms.value)
    tiles.append((f"ms a request, {best.arm.label}, K = {k}", number(best.ms, 1), interval(best.ms, digits=1)))
    if best.over_generate is not None:
        tiles.append(
            (f"the speed of generate, {best.arm.label}", ratio(best.over_generate), interval(best.over_generate))
        )
    drafted: list[Cost] = [cost for cost in ours if cost.over_off is not None and cost.arm.draft != "off"]
    if drafted:
        top = min(drafted, key=lambda cost: cost.ms.value)
        tiles.append((f"the speed of no drafts, {top.arm.label}", ratio(top.over_off), interval(top.over_off)))
        few = min(drafted, key=lambda cost: cost.passes.value)
        tiles.append((f"passes a request, {few.arm.label}", number(few.passes), interval(few.passes)))
    shown = (
        f'<div class="tile"><b>{value}</b><span>{escape(what)}</span><span>95 %: {within}</span></div>'
        for what, value, within in tiles
    )
    return f'<div class="tiles">{"".join(shown)}</div>'


def _quality(findings: Findings) -> Iterator[str]:
    widest = findings.widths[-1]
    yield "<h2>Quality</h2>"
    yield (
        '<p class="note">Each list is as long as it was asked for: K items by a search of width K. Drafts that change '
        "no list share the line of off. Bars are 95 % intervals over users.</p>"
    )
    yield _charts(plots.quality(findings))
    yield f"<h3>Within lists of {widest}, as the paper counts</h3>"
    yield tabulation.quality(findings, widest)
    if len(findings.widths) > 1:
        yield "<h3>Within lists of K</h3>"
        yield tabulation.quality(findings, None)
    if any(arm.verification == "relaxed" and arm.draft != "off" for arm in findings.arms):
        yield f"<h3>Sampling with drafts over sampling without, lists of {widest}</h3>"
        yield tabulation.sampled_quality(findings)


def _speed(findings: Findings) -> Iterator[str]:
    yield "<h2>Speed</h2>"
    told = "One request at a time; all arms answered every user in turn."
    if GENERATE in findings.arms:
        told += " generate is transformers' beam search under the same catalog constraint, also where beams are drawn."
    yield f'<p class="note">{told}</p>'
    yield _charts(plots.speed(findings))
    yield "<h3>Time of a request</h3>"
    yield tabulation.times(findings)
    yield "<h3>Where it goes, and whether it is the same answer</h3>"
    yield tabulation.passes(findings)


def _acceptance(scene: Scene, findings: Findings) -> Iterator[str]:
    charts = plots.acceptance(findings)
    if not charts:
        return
    yield "<h2>Acceptance by depth</h2>"
    told = (
        "Share of the beams of a depth that had been drafted before they were needed. A depth with beams missing takes "
        "a pass of its own. Leaves are never drafted."
    )
    if scene.bundle["scoring"] == "catalog":
        told += " A prefix with one continuation needs neither draft nor pass, and counts as not drafted."
    yield f'<p class="note">{told}</p>'
    yield legend(charts[-1].lines)
    yield _charts(charts, small=True)
    yield f"<details><summary>All figures by depth</summary>{tabulation.depths(findings)}</details>"


def _charts(charts: Sequence[Chart], small: bool = False) -> str:
    kind = "charts small" if small else "charts"
    return f'<div class="{kind}">{"".join(chart.figure() for chart in charts)}</div>'


def _method(scene: Scene) -> Iterator[str]:
    yield "<h2>How it was measured</h2>"
    yield "<dl>" + "".join(f"<dt>{term}</dt><dd>{meaning}</dd>" for term, meaning in TERMS) + "</dl>"
    entries = [("made", scene.made)]
    for group in ("versions", "machine", "bundle", "users", "settings"):
        entries += [
            (f"{group} {name}".replace("_", " "), _plain(value)) for name, value in getattr(scene, group).items()
        ]
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in entries)
    yield f"<details><summary>Versions, machine, bundle and settings</summary><dl>{listed}</dl></details>"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} = {each}" for name, each in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


TERMS = (
    (
        "users",
        "those with test items; the history is what train and valid hold, its latest items as many as the prompt takes",
    ),
    ("ground truth", "all test items of a user, as SIDs: an item that shares the SID of a wanted one is a hit"),
    ("Recall@n", "share of the ground truth among the first n of a list, averaged over users"),
    ("NDCG@n", "sum of 1 / log2(place + 1) over the hits among the first n, over the greatest sum possible"),
    ("popularity", "SIDs by frequency in all training histories, less those in the user's own history"),
    (
        "neighbours",
        f"SIDs by how near they stood, in all training histories, to the latest {LATEST} items of the user's own",
    ),
    (
        "strict, relaxed",
        "beams are the K best of each depth, or are drawn, by the temperature and the seed of the user",
    ),
    ("off, auto", "no drafts; drafts as far as they pay, from any source, the first draft model among them"),
    ("model, catalog", "always the draft model's N beams over G levels; always all continuations"),
    ("pass, row", "one forward of the target; one token in it, those of the prompt included"),
    ("depths per pass", "how many depths of the SID a pass brought, over all passes"),
    ("accepted steps", "the SID's length less passes, per request: AtSpeed's measure"),
    ("drafted, needed", "drafted nodes of a depth, and those among them that the answer needed, per request"),
    ("covered, whole", "share of a depth's beams that had been drafted; share of requests in which all had been"),
    (
        "identical",
        "share of requests with the items and log-probs, within 1e-4, of the arm without drafts under the same "
        "verification and seed, in order but for items that close",
    ),
    ("overlap", "share of that arm's items that this one gave, too"),
    (
        "intervals",
        "95 %, percentile bootstrap over users, all figures over the same resamples; they say how much other users "
        "would change a figure, not another machine or another training. Where all of n users agree an interval has no "
        "width, though a share of up to 3 / n could still be otherwise",
    ),
)
