"""`sidebeam load` as users run it: usage errors, exit codes, the report folder, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sidebeam.command.main import main

MixFile = Callable[..., Path]


def load(*arguments: str | Path) -> int:
    return main(["load", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("--rate 5", "nothing to ask: give --mix FILE with requests, --interactions FILE with histories, or both"),
        ("--rate 0 --mix M", "--rate must be above 0 and at most 10000; given 0"),
        ("--rate nan --mix M", "--rate must be above 0 and at most 10000; given nan"),
        ("--rate -3 --mix M", "--rate must be above 0 and at most 10000; given -3"),
        ("--concurrency 0 --mix M", "--concurrency must be at least 1 and at most 1000; given 0"),
        ("--rate 5 --duration-s 0 --mix M", "--duration-s must be above 0 and at most 86400; given 0"),
        ("--rate 5 --duration-s inf --mix M", "--duration-s must be above 0 and at most 86400; given inf"),
        ("--rate 5 --warm-up-s -1 --mix M", "--warm-up-s must be at least 0 and at most 86400; given -1"),
        ("--rate 5 --timeout-ms 0 --mix M", "--timeout-ms must be above 0 and at most 600000; given 0"),
        ("--rate 5 --max-in-flight 0 --mix M", "--max-in-flight must be at least 1 and at most 100000; given 0"),
        ("--rate 5 --connections 101 --mix M", "--connections must be at least 1 and at most 100; given 101"),
        ("--rate 5 --slo-ms -1 --mix M", "--slo-ms must be above 0 and at most 600000; given -1"),
        ("--rate 900 --duration-s 9000 --mix M", "makes 8,104,500 arrivals; at most 1,000,000 are kept"),
        ("--sweep 10 --mix M", "--sweep must have 2 to 20 rates; given 1"),
        ("--sweep 10,x --mix M", "--sweep must be rates with commas between them, such as 10,20,40; given '10,x'"),
        ("--sweep 20,10 --mix M", "--sweep must have ascending rates; given '20,10'"),
        ("--sweep 0,10 --mix M", "--sweep: each rate must be above 0 and at most 10000; given 0"),
        ("--concurrency 3 --arrivals poisson --mix M", "--arrivals goes with an open loop"),
        ("--rate 5 --top-k 3 --mix M", "--top-k goes with --interactions alone"),
        ("--rate 5 --final-only --mix M", "--final-only goes with --interactions alone"),
        ("--rate 5 --top-k 0 --interactions M", "--top-k must be at least 1 and at most 4.29497e+09; given 0"),
        ("--rate 5 --metadata x --mix M", "--metadata must be KEY=VALUE with a key of lower-case letters"),
        ("--rate 5 --metadata X-Tenant=a --mix M", "--metadata must be KEY=VALUE with a key of lower-case letters"),
        ("--rate 5 --metadata grpc-x=a --mix M", "neither 'grpc-...' nor '...-bin'; given 'grpc-x=a'"),
        ("--rate 5 --metadata x-request-id=a --mix M", "--metadata x-request-id: each request gets an id of its own"),
        ("--rate 5 --metadata a=ü --mix M", "--metadata a: a value must be printable ASCII"),
        ("--rate 5 --token-file absent --mix M", "--token-file absent: No such file or directory"),
        ("--rate 5 --tls-cert c --mix M", "--tls-cert and --tls-key go together"),
        ("--rate 5 --tls-ca absent --mix M", "--tls-ca absent: "),
        ("--rate 5 --fail-if p98 --mix M", "--fail-if 'p98': must be FIGURE OP NUMBER"),
        ("--rate 5 --fail-if within_slo<1 --mix M", "--fail-if 'within_slo<1': within_slo needs --slo-ms"),
        ("--rate 5 --fail-if knee_rps<1 --mix M", "--fail-if 'knee_rps<1': a knee needs --sweep"),
        ("--rate 5 --mix absent", "--mix absent: cannot be read: No such file or directory"),
        ("--rate 5 --interactions absent", "--interactions absent: cannot be read: No such file or directory"),
    ],
)
def test_usage_errors_name_option_value_and_limit(
    arguments: str, problem: str, mix_file: MixFile, capsys: pytest.CaptureFixture[str]
) -> None:
    mix = str(mix_file("delay 1"))
    given = [mix if word == "M" else word for word in arguments.split()]
    assert load("--address", "127.0.0.1:1", *given) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("sidebeam load: ")
    assert problem in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize("arguments", [[], ["--rate", "5", "--sweep", "1,2"], ["--rate", "x"], ["--arrivals", "often"]])
def test_argparse_refuses_what_it_can(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert load(*arguments) == 2
    assert "usage: sidebeam load" in capsys.readouterr().err


def test_nobody_at_the_address_is_told_before_the_run(mix_file: MixFile, capsys: pytest.CaptureFixture[str]) -> None:
    assert load("--address", "127.0.0.1:1", "--mix", mix_file("delay 1"), "--rate", "1", "--duration-s", "600") == 1
    assert capsys.readouterr().err == "sidebeam load: 127.0.0.1:1: no sidecar answers there within 5 s\n"


def test_a_whole_run(address: str, mix_file: MixFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "reports" / "first"
    common = ("--address", address, "--mix", mix_file("delay 5", "half"), "--duration-s", "1", "--warm-up-s", "0")
    rules = ("--fail-if", "p50_ms>20000", "--fail-if", "error_share>99%")
    assert load(*common, "--rate", "40", *rules, "--report", out) == 0
    captured = capsys.readouterr()
    assert "40 requests/s" in captured.out
    assert "RESOURCE_EXHAUSTED" in captured.out
    assert "--fail-if 'p50_ms>20000' passed" in captured.out
    assert str(out / "load.html") in captured.out
    assert {path.name for path in out.iterdir()} == {
        "load.html", "load.json", "latency.hlog", "answer-40-per-s.hgrm", "service-40-per-s.hgrm",
    }  # fmt: skip
    content = json.loads((out / "load.json").read_text())
    assert content["steps"][0]["answered"] > 0
    assert content["settings"]["rate"] == 40.0
    assert content["rules"][1]["broken"] is False
    assert load(*common, "--rate", "40", "--fail-if", "error_share>1%") == 1
    assert "FAILED" in capsys.readouterr().out


def test_a_run_without_an_answer_fails(address: str, mix_file: MixFile, capsys: pytest.CaptureFixture[str]) -> None:
    mix = mix_file("fail INTERNAL")
    assert load("--address", address, "--mix", mix, "--rate", "20", "--duration-s", "1", "--warm-up-s", "0") == 1
    assert "No request of 20 requests/s was answered." in capsys.readouterr().out


def test_a_report_that_cannot_be_written_is_refused_before_the_run(
    address: str, mix_file: MixFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    (tmp_path / "taken" / "load.json").mkdir(parents=True)
    begun = time.monotonic()
    common = ("--address", address, "--mix", mix_file("delay 1"), "--rate", "5", "--duration-s", "600")
    assert load(*common, "--report", file) == 2
    assert load(*common, "--report", file / "below") == 2
    assert load(*common, "--report", tmp_path / "taken") == 2
    assert time.monotonic() - begun < 60
    told = capsys.readouterr().err
    assert "--report must be a folder; given" in told
    assert "--report must have room for a file load.json" in told
    assert file.read_text() == "mine"


def test_nothing_is_left_of_a_folder_where_nothing_was_measured(mix_file: MixFile, tmp_path: Path) -> None:
    out = tmp_path / "new" / "report"
    assert load("--address", "127.0.0.1:1", "--mix", mix_file("delay 1"), "--rate", "5", "--report", out) == 1
    assert not out.parent.exists()


@pytest.mark.parametrize(("how", "load_option"), [(signal.SIGINT, "--rate=30"), (signal.SIGTERM, "--concurrency=3")])
def test_an_interrupted_run_reports_what_it_measured(
    how: signal.Signals, load_option: str, address: str, mix_file: MixFile, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    command = [sys.executable, "-W", "error", "-m", "sidebeam.command.main", "load", "--address", address, load_option]
    command += ["--mix", str(mix_file("delay 20")), "--duration-s", "600", "--warm-up-s", "0", "--report", str(out)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"}
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()  # after five seconds
        process.send_signal(how)
        told, errors = process.communicate(timeout=60)
    assert "of 600 s: " in first
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "Interrupted: " in told
    content = json.loads((out / "load.json").read_text())
    assert content["interrupted"]
    (step,) = content["steps"]
    assert 3 < step["window_s"] < 60
    assert step["answered"] > 10
    assert step["arrivals"] == step["answered"] + step["failed"] + step["missed"] + step["unfinished"]
    assert (out / "load.html").stat().st_size > 5000


def test_an_interruption_in_a_warm_up_leaves_nothing(address: str, mix_file: MixFile, tmp_path: Path) -> None:
    out = tmp_path / "report"
    command = [sys.executable, "-m", "sidebeam.command.main", "load", "--address", address, "--rate", "10"]
    command += ["--mix", str(mix_file("delay 20")), "--warm-up-s", "600", "--report", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "sidebeam load: interrupted before anything was measured\n"
    assert not out.exists()
