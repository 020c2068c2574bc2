"""Runs against real gRPC servers in processes of their own: what they do is what is reported.

Other processes share the machine, so every bound is generous: a request may always take longer, never less.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidebeam.load.error import LoadError, Unanswered
from sidebeam.load.report import Report
from sidebeam.load.summary import Summary

MixFile = Callable[..., Path]
Load = Callable[..., Report]


def ms(summary: Summary, percent: float, event: str = "answer") -> float:
    value = summary.latency[event].percentile(percent)
    assert value is not None
    return value


def test_a_known_delay_is_reported(load: Load, address: str, mix_file: MixFile) -> None:
    reported = {}
    for delay in ("20", "250"):
        mix = str(mix_file(f"delay {delay}"))
        report = load("--address", address, "--mix", mix, "--rate", "40", "--duration-s", "1", "--warm-up-s", "0.3")
        (summary,) = report.summaries
        assert summary.answered == summary.arrivals > 15
        assert summary.failed == summary.missed == summary.unfinished == 0
        assert min(summary.latency["answer"].ms) >= float(delay) - 1  # a server's timer may be a clock tick early
        reported[delay] = ms(summary, 50)
    assert reported["20"] < 170
    assert reported["250"] < 400
    assert reported["250"] - reported["20"] > 80


def test_each_event_has_its_time(load: Load, address: str, mix_file: MixFile) -> None:
    mix = str(mix_file("events"))
    report = load("--address", address, "--mix", mix, "--rate", "30", "--duration-s", "1", "--warm-up-s", "0")
    (summary,) = report.summaries
    counts = {event: len(durations) for event, durations in summary.latency.items()}
    assert set(counts.values()) == {summary.answered}
    events = [summary.latency[event].ms for event in ("first_provisional", "first_beams", "answer")]
    assert [min(durations) >= 30 * (i + 1) - 3 for i, durations in enumerate(events)] == [True] * 3
    assert all(
        earlier < later
        for one, next_one in itertools.pairwise(events)
        for earlier, later in zip(one, next_one, strict=True)
    )
    assert ms(summary, 50, "first_provisional") + 15 < ms(summary, 50, "answer")
    assert summary.stages["pass"].percentile(99) == 5.0
    assert summary.stages["total"].percentile(50) == 9.0


def test_a_stall_shows_under_open_loop_and_hides_under_closed_loop(
    load_once: Load, stalling: Callable[..., Any], mix_file: MixFile
) -> None:
    """The server stands still for one second of three. Who comes then waits; who asks one by one comes once."""
    common = ("--mix", str(mix_file("delay 10")), "--duration-s", "3", "--warm-up-s", "0", "--timeout-ms", "10000")
    with stalling("1.0", "1.0") as address:
        (open_loop,) = load_once("--address", address, *common, "--rate", "50", "--arrivals", "constant").summaries
    with stalling("1.0", "1.0") as address:
        (closed_loop,) = load_once("--address", address, *common, "--concurrency", "1").summaries
    # 50 arrivals of 150 met the stall and waited 0.5 s on average
    assert ms(open_loop, 90) > 400
    assert (open_loop.latency["answer"].highest or 0) > 900
    slow = [each.at_s for each in open_loop.timeline.bins if (each.max_ms or 0) > 600]
    assert slow
    assert min(slow) <= 1.6  # where it was: requests due in the stalled second
    # the closed loop asked once while the server stood still, and not at all for the rest of that second
    assert (closed_loop.latency["answer"].highest or 0) > 700
    shares = [
        sum(each > 300 for each in summary.latency["answer"].ms) / summary.answered
        for summary in (open_loop, closed_loop)
    ]
    assert shares[0] >= 0.1
    assert shares[1] < shares[0] / 2


def test_a_client_that_stands_still_blames_itself(load_once: Load, address: str, mix_file: MixFile) -> None:
    """The client's own event loop sleeps for 0.6 s: latency counts it, the time from sending does not."""
    mix = str(mix_file("delay 5"))

    async def freeze() -> None:
        await asyncio.sleep(0.7)
        time.sleep(0.6)  # noqa: ASYNC251

    original = asyncio.run

    def run_frozen(main: Any) -> Any:
        async def both() -> Any:
            frozen = asyncio.create_task(freeze())
            result = await main
            await frozen
            return result

        return original(both())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "run", run_frozen)
        report = load_once("--address", address, "--mix", mix, "--rate", "100", "--duration-s", "2", "--warm-up-s", "0")
    (summary,) = report.summaries
    assert summary.answered == summary.arrivals
    assert (summary.latency["answer"].highest or 0) > 450
    assert ms(summary, 85) > ms(summary, 85, "service") + 50
    assert not report.trusted
    reasons = " ".join(summary.client.reasons)
    assert "its event loop ran late" in reasons
    assert "requests were sent late" in reasons


def test_errors_are_counted_by_code_and_reason(load_once: Load, address: str, mix_file: MixFile) -> None:
    mix = str(mix_file("delay 1", "half", "fail UNAVAILABLE", "nothing"))
    with pytest.raises(Unanswered, match=r"UNAVAILABLE: .*as asked"):  # tried before the run
        load_once("--address", address, "--mix", mix, "--rate", "60", "--duration-s", "2", "--warm-up-s", "0")
    mix = str(mix_file("delay 1", "half", "fail DATA_LOSS", "nothing"))
    report = load_once("--address", address, "--mix", mix, "--rate", "80", "--duration-s", "1.5", "--warm-up-s", "0")
    (summary,) = report.summaries
    groups = {group.name: group for group in summary.groups}
    assert sum(group.requests for group in groups.values()) == summary.arrivals
    assert {name: group.answered for name, group in groups.items() if name in ("fail DATA_LOSS", "nothing")} == {
        "fail DATA_LOSS": 0,
        "nothing": 0,
    }
    assert groups["delay 1"].answered == groups["delay 1"].requests
    shed = groups["half"].requests - groups["half"].answered
    assert abs(shed - groups["half"].answered) <= 1
    counted = Counter({(error.code, error.reason): error.count for error in summary.errors})
    assert counted == {
        ("RESOURCE_EXHAUSTED", "OVERLOADED"): shed,
        ("DATA_LOSS", "TEST_REASON"): groups["fail DATA_LOSS"].requests,
        ("NO_ANSWER", ""): groups["nothing"].requests,
    }
    assert summary.failed == counted.total()
    assert summary.answered + summary.failed == summary.arrivals
    assert next(error.example for error in summary.errors if error.code == "DATA_LOSS") == "as asked"


def test_deadlines_are_kept_and_arrivals_beyond_the_bound_are_missed(
    load: Load, address: str, mix_file: MixFile
) -> None:
    """Each request is under way for 0.3 s; at 100 a second there would be 30, but 5 may be."""
    arguments = ("--mix", str(mix_file("delay 60000")), "--timeout-ms", "300", "--max-in-flight", "5")
    report = load("--address", address, *arguments, "--rate", "100", "--duration-s", "1.5", "--warm-up-s", "0")
    (summary,) = report.summaries
    assert [error.code for error in summary.errors] == ["DEADLINE_EXCEEDED"]
    assert summary.answered == 0
    assert summary.failed == summary.errors[0].count
    assert 5 <= summary.failed <= 5 * (1.5 / 0.3 + 2)
    assert summary.missed == summary.arrivals - summary.failed > 60
    assert summary.good_share == 0.0
    assert len(summary.latency["answer"]) == 0


def test_a_closed_loop_asks_as_fast_as_it_is_answered(load: Load, address: str, mix_file: MixFile) -> None:
    mix = str(mix_file("delay 50"))
    report = load("--address", address, "--mix", mix, "--concurrency", "4", "--duration-s", "1", "--warm-up-s", "0.2")
    (summary,) = report.summaries
    assert summary.client.send_lag is None
    assert summary.plan.title == "4 at a time"
    assert 8 < summary.answered <= 4 * 1 / 0.05 + 4
    assert max(each.in_flight for each in summary.timeline.bins) <= 4


def test_the_warm_up_is_sent_but_not_measured(load_once: Load, stalling: Callable[..., Any], mix_file: MixFile) -> None:
    """The server stands still from 0.3 s to 1.1 s, which the warm-up covers or does not."""
    common = ("--mix", str(mix_file("delay 1")), "--rate", "40", "--timeout-ms", "10000")
    waited = {}
    for warm_up, duration in (("2", "1"), ("0", "2")):
        with stalling("0.3", "0.8") as address:
            report = load_once("--address", address, *common, "--duration-s", duration, "--warm-up-s", warm_up)
        (summary,) = report.summaries
        assert summary.window_s == float(duration)
        assert summary.arrivals < 1.5 * 40 * float(duration)
        assert sum(each.arrivals for each in summary.timeline.bins) == summary.arrivals
        waited[warm_up] = sum(each > 300 for each in summary.latency["answer"].ms) / summary.answered
    assert waited["0"] > 0.15
    assert waited["2"] < waited["0"] / 2


def test_the_same_seed_asks_the_same(load_once: Load, address: str, mix_file: MixFile) -> None:
    mix = str(mix_file("delay 1", "delay 2", "delay 3"))
    common = ("--address", address, "--mix", mix, "--rate", "50", "--duration-s", "1", "--warm-up-s", "0")
    reports = [load_once(*common, "--seed", seed) for seed in ("4", "4", "5")]
    asked = [{group.name: group.requests for group in report.summaries[0].groups} for report in reports]
    assert asked[0] == asked[1] != asked[2]


def test_a_sweep_has_a_knee(load: Load, address: str, mix_file: MixFile) -> None:
    """At most two requests at a time, each of 0.1 s: some twenty a second get through."""
    arguments = ("--mix", str(mix_file("delay 100")), "--max-in-flight", "2", "--arrivals", "constant")
    report = load("--address", address, *arguments, "--sweep", "5,100", "--duration-s", "1", "--warm-up-s", "0")
    assert [summary.plan.rate for summary in report.summaries] == [5.0, 100.0]
    assert report.knee is not None
    assert report.knee.first_broken == 100.0
    assert report.summaries[1].missed > 25


def test_answers_that_were_cut_short_are_told(load_once: Load, address: str, mix_file: MixFile) -> None:
    mix = str(mix_file("short"))
    report = load_once("--address", address, "--mix", mix, "--rate", "20", "--duration-s", "1", "--warm-up-s", "0")
    assert report.summaries[0].cut_short == report.summaries[0].answered > 0


def test_a_token_and_metadata_travel_with_every_request(
    load_once: Load, address: str, mix_file: MixFile, tmp_path: Path
) -> None:
    mix, token = str(mix_file("metadata Bearer s3cret")), tmp_path / "token"
    common = ("--address", address, "--mix", mix, "--rate", "20", "--duration-s", "1", "--warm-up-s", "0")
    token.write_text("s3cret\n")
    report = load_once(*common, "--token-file", str(token), "--connections", "3")
    assert report.summaries[0].failed == 0
    assert "s3cret" not in str(report.settings | {"mix": ""})
    assert load_once(*common, "--metadata", "authorization=Bearer s3cret").summaries[0].failed == 0
    with pytest.raises(Unanswered, match="UNAUTHENTICATED: who is it"):
        load_once(*common)


def test_what_one_request_can_tell_is_told_before_a_run(load_once: Load, address: str, mix_file: MixFile) -> None:
    path = mix_file("delay 1", "invalid")
    with pytest.raises(LoadError, match=rf"--mix {path}, line 2: the server finds .* invalid: top_k: 0 is below 1"):
        load_once("--address", address, "--mix", str(path), "--rate", "1", "--duration-s", "60")
