"""Which plots a report has."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from sidebeam.load.caller import STAGES
from sidebeam.load.distribution import Distribution
from sidebeam.load.knee import Knee
from sidebeam.load.plot import Axis, Mark, Plot, Point, Series, fitting, linear
from sidebeam.load.summary import EVENTS, Summary
from sidebeam.load.timeline import Bin

BLUE, RED, TEAL, VIOLET, AMBER, GREY = 5, 6, 2, 3, 0, 1  # of page.css
STYLES = {"answer": BLUE, "service": GREY, "first_beams": TEAL, "first_provisional": VIOLET}
NINES = ((0.0, "0 %"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %"))
CURVE = 160  # points of a percentile curve
RATES = (TEAL, BLUE, VIOLET, AMBER, RED, GREY, 7, 8, 4, 9)


def of_step(summary: Summary) -> list[Plot]:
    """What one step was like."""
    curves = [
        Series(meaning, STYLES[event], curve(summary.latency[event]), dashed=event == "service")
        for event, meaning in reversed(EVENTS.items())  # the answer is drawn last, over the others
        if len(summary.latency[event])
    ]
    plots = [percentiles("How long it took, by percentile", curves, summary.slo_ms)] if curves else []
    return [*plots, _over_time(summary), _throughput(summary), _under_way(summary)]


def of_sweep(summaries: Sequence[Summary], knee: Knee | None) -> list[Plot]:
    """What the rates of a sweep were like beside each other."""
    answered = [summary for summary in summaries if summary.answered]
    rates = linear("requests a second", max(summary.plan.rate or 0.0 for summary in summaries))
    marks = [Mark("x", knee.rate, "knee")] if knee is not None and knee.rate is not None else []

    def by_rate(value: Callable[[Summary], float | None], among: Sequence[Summary]) -> list[Point]:
        pairs = [(summary.plan.rate or 0.0, value(summary)) for summary in among]
        return [(rate, each) for rate, each in pairs if each is not None]

    def percentile(percent: float) -> list[Point]:
        return by_rate(lambda each: each.latency["answer"].percentile(percent), answered)

    shown = ((99, RED), (95, AMBER), (50, BLUE))
    times = [Series(f"p{percent}", style, percentile(percent), "marked") for percent, style in shown]
    axis = fitting("ms", [y for series in times for _, y in series.points])
    flows = [
        Series("asked", GREY, [(0.0, 0.0), (rates.high, rates.high)], dashed=True),
        Series("answered", BLUE, by_rate(lambda each: each.answered_rps, summaries), "marked"),
        Series("answered well", TEAL, by_rate(lambda each: each.goodput_rps, summaries), "marked"),
    ]
    if summaries[0].slo_ms is None:
        flows.pop()
    curves = [
        Series(each.plan.title, RATES[i % len(RATES)], curve(each.latency["answer"]))
        for i, each in enumerate(summaries)
        if each.answered
    ]
    return [
        Plot("Time until the answer, by rate", rates, axis, times, [*marks, *_slo(summaries[0].slo_ms, axis)]),
        Plot("Answers a second, by rate", rates, linear("a second", rates.high), flows, marks),
        *([percentiles("Time until the answer, by percentile", curves, summaries[0].slo_ms)] if curves else []),
    ]


def percentiles(title: str, curves: Sequence[Series], slo_ms: float | None) -> Plot:
    """Curves whose x axis gives each further nine of a percentile the same room."""
    most = max(x for series in curves for x, _ in series.points)
    ticks = tuple((_nines(share), text) for share, text in NINES if _nines(share) <= most + 1e-9)
    axis = fitting("ms", [y for series in curves for _, y in series.points])
    across = Axis("share of requests that took no longer", 0.0, max(most, _nines(0.5)), ticks)
    return Plot(title, across, axis, curves, _slo(slo_ms, axis))


def curve(durations: Distribution) -> list[Point]:
    """Percentiles up to the one that the slowest duration alone is above."""
    most = math.log10(max(len(durations), 2))
    xs = [most * i / CURVE for i in range(CURVE + 1)]
    found = [(x, durations.percentile(100 * (1 - 10**-x))) for x in xs]
    return [(x, y) for x, y in found if y is not None]


def _nines(share: float) -> float:
    return -math.log10(1 - share)


def _over_time(summary: Summary) -> Plot:
    line = summary.timeline
    answered = [(at, ms) for at, ms, ok in line.dots if ok]
    failed = [(at, ms) for at, ms, ok in line.dots if not ok]
    middle = [(each.at_s + line.width_s / 2, each.p50_ms) for each in line.bins if each.p50_ms is not None]
    series = [Series("answered", BLUE, answered, "dots"), Series("median", TEAL, middle)]
    if failed:
        series.insert(1, Series("failed", RED, failed, "dots"))
    axis = fitting("ms", [ms for _, ms, _ in line.dots])
    title = (
        "Every request, at the time it was due"
        if len(line.dots) == summary.answered + summary.failed
        else ("Requests at the time they were due: the slowest, and a choice of the others")
    )
    return Plot(title, _seconds(summary), axis, series, _slo(summary.slo_ms, axis))


def _throughput(summary: Summary) -> Plot:
    line = summary.timeline

    def a_second(count: Callable[[Bin], int]) -> list[Point]:
        return [
            (each.at_s + width_s / 2, count(each) / width_s)
            for each in line.bins
            if (width_s := min(line.width_s, summary.window_s - each.at_s)) > line.width_s / 2
        ]

    series = [
        Series("due", GREY, a_second(lambda each: each.arrivals), dashed=True),
        Series("answered", BLUE, a_second(lambda each: each.answered)),
    ]
    if summary.failed:
        series.append(Series("failed", RED, a_second(lambda each: each.failed)))
    if summary.missed:
        series.append(Series("missed", AMBER, a_second(lambda each: each.missed)))
    highest = max([y for each in series for _, y in each.points] or [1.0])
    return Plot("What became of the requests due in a second", _seconds(summary), linear("a second", highest), series)


def _under_way(summary: Summary) -> Plot:
    points = [(each.at_s, float(each.in_flight)) for each in summary.timeline.bins]
    highest = max(y for _, y in points)
    series = [Series("under way", VIOLET, points)]
    return Plot("Requests under way", _seconds(summary), linear("requests", highest), series)


def _seconds(summary: Summary) -> Axis:
    axis = linear("seconds", summary.window_s)
    return Axis(axis.title, 0.0, max(summary.window_s, 1e-3), tuple(t for t in axis.ticks if t[0] <= summary.window_s))


def _slo(slo_ms: float | None, axis: Axis) -> list[Mark]:
    if slo_ms is None or not axis.low <= slo_ms <= axis.high:
        return []
    return [Mark("y", slo_ms, f"SLO {slo_ms:g} ms")]


def stages(summary: Summary) -> str:
    """A bar for each stage of the server: p50 solid, p99 pale. "" where no answer told its stages."""
    shown = [stage for stage in STAGES if len(summary.stages[stage])]
    highest = max([summary.stages[stage].percentile(99) or 0.0 for stage in shown], default=0.0)
    if highest <= 0:
        return ""
    rows = []
    for i, stage in enumerate(shown):
        p50, p99 = (summary.stages[stage].percentile(percent) or 0.0 for percent in (50, 99))
        y = 8 + 26 * i
        rows.append(
            f'<text class="tick end" x="76" y="{y + 13}">{stage}</text>'
            f'<rect class="pale" x="84" y="{y}" width="{320 * p99 / highest:.1f}" height="18" rx="2"/>'
            f'<rect x="84" y="{y}" width="{320 * p50 / highest:.1f}" height="18" rx="2"/>'
            f'<text class="tick" x="{92 + 320 * p99 / highest:.1f}" y="{y + 13}">{p50:,.1f} / {p99:,.1f} ms</text>'
        )
    height = 12 + 26 * len(shown)
    return (
        "<figure><figcaption>Where the server spent it, p50 / p99 by its own clocks</figcaption>"
        f'<svg viewBox="0 0 560 {height}" role="img" aria-label="Server stages"><g class="bars s{BLUE}">'
        f"{''.join(rows)}</g></svg></figure>"
    )
