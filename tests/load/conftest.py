"""What the load tests share: sidecars with known delays, runs against them, and reports made of given outcomes."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sidebeam.load.caller import Outcome
from sidebeam.load.command import add_arguments
from sidebeam.load.distribution import Distribution
from sidebeam.load.mix import Mix, read_entries
from sidebeam.load.options import Options
from sidebeam.load.progress import Progress
from sidebeam.load.recording import Recording
from sidebeam.load.report import Report
from sidebeam.load.rule import Rule
from sidebeam.load.run import run
from sidebeam.load.step import StepPlan
from sidebeam.load.summary import Summary, summarise

ATTEMPTS = 6
CALM_MS = 100.0

Outcomes = Iterable[dict[str, Any]]


@contextmanager
def running(*arguments: str) -> Iterator[str]:
    """A sidecar's address; its process ends with the block, or with this process."""
    command = [sys.executable, str(Path(__file__).with_name("sidecar.py")), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"127.0.0.1:{process.stdout.readline().strip()}"
        process.stdin.close()
        assert process.wait(timeout=10) == 0


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    with running() as found:
        yield found


@pytest.fixture
def load_once() -> Callable[..., Report]:
    """As `load`, but whatever the machine does."""
    return measure_once


@pytest.fixture
def stalling() -> Callable[..., Any]:
    """Starts a sidecar that stands still once: `stalling("1.0", "1.0")`, after a second and for a second."""
    return running


@pytest.fixture
def mix_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a mix of prompts of equal weight, each under its own name."""

    def write(*prompts: str) -> Path:
        lines = [json.dumps({"name": prompt, "request": {"prompt": prompt}}) for prompt in prompts]
        path = tmp_path / "mix.jsonl"
        path.write_text("\n".join(lines))
        return path

    return write


def parse(*arguments: str) -> Options:
    """Options as the command line gives them."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_arguments(parser)
    return Options.read(parser.parse_args(arguments))


@pytest.fixture(name="parse")
def _parse() -> Callable[..., Options]:
    return parse


def measure_once(*arguments: str) -> Report:
    options = parse(*arguments)
    assert options.mix is not None
    mix = Mix(read_entries(options.mix), [])
    report = asyncio.run(run(options, mix, Progress(Console(file=io.StringIO()), len(options.steps))))
    assert report is not None
    return report


@pytest.fixture
def load() -> Callable[..., Report]:
    """Runs a load test as the command would, and returns its report.

    Where the machine stood still meanwhile, because others use it, too, it runs again.
    """

    def measure(*arguments: str) -> Report:
        for _ in range(ATTEMPTS - 1):
            report = measure_once(*arguments)
            if all((summary.client.loop_lag.highest or 0) < CALM_MS for summary in report.summaries):
                return report
        return measure_once(*arguments)

    return measure


def plan(rate: float | None = 10.0, duration_s: float = 10.0) -> StepPlan:
    concurrency = None if rate is not None else 4
    return StepPlan(rate, concurrency, "poisson", 1.0, duration_s, 1000, "0 0")


@pytest.fixture
def summary() -> Callable[..., Summary]:
    """Makes a summary of outcomes, each a dict of what differs from an answer at second i / 10 after 20 ms."""

    def make(
        outcomes: Outcomes,
        rate: float | None = 10.0,
        slo_ms: float | None = None,
        late_ms: float = 0.1,
        cpu: float = 0.2,
    ) -> Summary:
        recording = Recording(100.0)
        for i, given in enumerate(outcomes):
            at = 100.0 + i / 10
            took_ms = given.get("took_ms", 20.0)
            fields = {"sent": at, "ended": at + took_ms / 1e3, "code": "OK", "name": ""} | given
            fields.pop("took_ms", None)
            recording.add(Outcome(request_id=f"load-{i}", intended=at, **fields))
        return summarise(plan(rate), recording, 10.0, 0, Distribution.of([late_ms] * 100), cpu, slo_ms)

    return make


@pytest.fixture
def report(summary: Callable[..., Summary]) -> Callable[..., Report]:
    """Makes a report of summaries and rules."""

    def make(*summaries: Summary, rules: Iterable[str] = (), interrupted: bool = False) -> Report:
        settings = {"address": "there:1", "slo_ms": summaries[0].slo_ms, "report": "<b>out</b>", "fail_if": []}
        scene = {
            "made": "2030-01-01T00:00:00+00:00",
            "run": "abc",
            "versions": {"python": "3.11"},
            "machine": {"cores": 2},
        }
        steps = [(1_900_000_000.0 + 20 * i, each) for i, each in enumerate(summaries)]
        return Report.of(settings, scene, steps, [Rule.parse(text) for text in rules], interrupted)

    return make
