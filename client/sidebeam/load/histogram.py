"""HdrHistogram files, for tools that compare and add up runs.

Values are nanoseconds, as those tools expect, exact to three digits from 1 µs to an hour. A `.hgrm` lists percentiles
in milliseconds; `latency.hlog` holds every histogram of a run, each with a tag.
"""

from __future__ import annotations

from collections.abc import Sequence

from hdrh.histogram import HdrHistogram

from sidebeam.load.distribution import Distribution
from sidebeam.load.step import StepPlan
from sidebeam.load.summary import Summary

LOWEST_NS, HIGHEST_NS, DIGITS = 1_000, 3_600_000_000_000, 3
NS_PER_MS = 1e6
TICKS_PER_HALF_DISTANCE = 5

LOG_NAME = "latency.hlog"


def histogram(durations: Distribution) -> HdrHistogram:
    """The histogram of some durations."""
    found = HdrHistogram(LOWEST_NS, HIGHEST_NS, DIGITS)
    for ms in durations.ms:
        found.record_value(min(max(round(ms * NS_PER_MS), LOWEST_NS), HIGHEST_NS))
    return found


def percentile_text(durations: Distribution) -> str:
    """A `.hgrm`: percentiles, finer and finer towards the slowest, in milliseconds.

    The library would write it, too, but with a standard deviation in another unit than the mean.
    """
    counted = histogram(durations)
    lines = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}", ""]
    for step in counted.get_percentile_iterator(TICKS_PER_HALF_DISTANCE):
        share = step.percentile_level_iterated_to / 100
        rest = f" {1 / (1 - share):14.2f}" if share < 1 else ""
        value_ms = step.value_iterated_to / NS_PER_MS
        lines.append(f"{value_ms:12.3f} {share:14.12f} {step.total_count_to_this_value:10d}{rest}")
    mean_ms, deviation_ms = counted.get_mean_value() / NS_PER_MS, counted.get_stddev() / NS_PER_MS
    highest_ms, count = counted.get_max_value() / NS_PER_MS, counted.get_total_count()
    lines += [
        f"#[Mean    = {mean_ms:12.3f}, StdDeviation   = {deviation_ms:12.3f}]",
        f"#[Max     = {highest_ms:12.3f}, Total count    = {count:12d}]",
        f"#[Buckets = {counted.bucket_count:12d}, SubBuckets     = {counted.sub_bucket_count:12d}]",
    ]
    return "\n".join(lines) + "\n"


def log_text(began: Sequence[float], summaries: Sequence[Summary]) -> str:
    """A `.hlog` of version 1.2: for each step and event one interval, tagged; `began` are the steps' Unix times.

    The library's own writer writes no tags.
    """
    lines = ["#[Histogram log format version 1.2]", f"#[StartTime: {began[0]:.3f} (seconds since epoch), start]"]
    lines.append('"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"')
    for start_s, summary in zip(began, summaries, strict=True):
        for event, durations in summary.latency.items():
            counted = histogram(durations)
            highest_ms = counted.get_max_value() / NS_PER_MS
            fields = f"{start_s - began[0]:.3f},{summary.window_s:.3f},{highest_ms:.3f},{counted.encode().decode()}"
            lines.append(f"Tag={tag(summary.plan, event)},{fields}")
    return "\n".join(lines) + "\n"


def tag(plan: StepPlan, event: str) -> str:
    """What a histogram is called in the log, and its file without the ending."""
    return f"{event}-{plan.concurrency}-at-a-time" if plan.rate is None else f"{event}-{plan.rate:g}-per-s"
