"""`sidebeam bench faults` with real sidecars, signals, a full file system and a stuck pipe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from sidebeam.client import AsyncClient, Item, Recommendation, StageTimes
from sidebeam.command.main import main
from sidebeam.command.sidecar import Sidecar
from sidebeam.resilience.expected import TOLERANCE, Expected
from sidebeam.resilience.fault import FAULTS
from sidebeam.resilience.fault_bench import Plan, Trial
from sidebeam.resilience.fault_report import as_json, report
from sidebeam.resilience.log_pipe import LogPipe
from sidebeam.resilience.open_load import HUNG, RIGHT, WRONG, Outcome
from sidebeam.resilience.process import Process
from sidebeam.resilience.small_folder import NoSmallFolderError, SmallFolder

PLAN = Plan(times=1, rate=20, top_k=2, deadline_s=5, retries=2, seed=0)
# Hanging workers are found soon; and no request is turned away because the machine has other things to do.
QUICK = """
[supervision]
heartbeat_interval_s = 0.3
heartbeat_timeout_s = 4
[target]
threads = 1
[admission]
max_wait_ms = 20000
"""


@pytest.fixture
def users(tmp_path: Path) -> Path:
    file = tmp_path / "users.jsonl"
    lines = ({"user": i, "train": [f"i{i}", f"i{i + 1}"], "valid": [f"i{i + 2}"]} for i in range(20))
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    file = tmp_path / "settings.toml"
    file.write_text(QUICK)
    return file


def items(*pairs: tuple[str, float]) -> tuple[Item, ...]:
    return tuple(Item(name, ("a",), log_prob, rank, 1) for rank, (name, log_prob) in enumerate(pairs, start=1))


def answer(*pairs: tuple[str, float]) -> Recommendation:
    times = StageTimes(*[0.0] * 7)
    return Recommendation(items(*pairs), 1, 1, 0, 0, "raw", "beam", "v", times, "id")


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ([("a", -1.0), ("b", -2.0), ("c", -2.00005)], True),
        ([("a", -1.00005), ("b", -2.0), ("c", -2.00005)], True),
        ([("a", -1.0), ("c", -2.00005), ("b", -2.0)], True),  # too close to say which is better
        ([("b", -2.0), ("a", -1.0), ("c", -2.00005)], False),
        ([("a", -1.0), ("b", -2.0)], False),
        ([("a", -1.0), ("b", -2.0), ("b", -2.0)], False),
        ([("a", -1.0), ("b", -2.0), ("d", -2.5)], False),
        ([("a", -1.0 - 2 * TOLERANCE), ("b", -2.0), ("c", -2.00005)], False),
    ],
)
def test_right_answers_have_the_same_items_in_order_and_their_log_probs(
    given: list[tuple[str, float]], right: bool
) -> None:
    expected = Expected([["x"]], 3, [items(("a", -1.0), ("b", -2.0), ("c", -2.00005))])
    assert expected.is_right(0, answer(*given)) is right


def trial(name: str, *words: str, sent: float = 10.0, ended: float = 10.5) -> Trial:
    outcomes = [Outcome(sent, sent, ended, word) for word in words]
    return Trial(FAULTS[name], outcomes, [(10.2, 11.0)], [0.8])


@pytest.mark.parametrize(
    ("done", "problem"),
    [
        (trial("kill-target", RIGHT, "UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"), ""),
        (trial("kill-draft", RIGHT), ""),
        (trial("kill-draft", RIGHT, "UNAVAILABLE"), "should have cost none"),
        (trial("kill-target", WRONG), "1 wrong answers"),
        (trial("kill-target", HUNG), "1 requests without an outcome"),
        (trial("kill-target", "INTERNAL"), "errors that no caller should see: {'INTERNAL': 1}"),
        (trial("drain", "UNAVAILABLE"), "1 requests were inside and got no answer"),
        (trial("drain", "UNAVAILABLE", sent=10.3), ""),
    ],
)
def test_what_is_at_fault(done: Trial, problem: str) -> None:
    result = as_json([done], PLAN)
    found = result["rows"][0]["at_fault"]
    assert result["passed"] is (not problem)
    assert len(found) == bool(problem)
    assert problem in report(result)


def test_answers_count_as_during_a_fault_if_they_were_under_way() -> None:
    done = trial("kill-target", RIGHT)
    done.outcomes += [Outcome(8.0, 8.0, 10.1, RIGHT), Outcome(11.1, 11.1, 11.2, RIGHT), Outcome(10.9, 10.9, 20, RIGHT)]
    row = as_json([done], PLAN)["rows"][0]
    assert (row["during"]["answers"], row["calm"]["answers"]) == (2, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--faults", "kill-cat"], "no fault 'kill-cat'; there are kill-draft, "),
        (["--min-history", "9"], "no users with 9 items of history"),
        (["--rate", "0"], "must be above 0; given 0"),
    ],
)
def test_bad_usage_is_told(users: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "faults", "--bundle", "nowhere", "--interactions", str(users), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_process_is_what_psutil_says() -> None:
    ours, judge = Process.of(os.getpid()), psutil.Process()
    assert ours.is_alive
    assert ours.arguments[0] == judge.cmdline()[0]
    assert abs(ours.resident_bytes - judge.memory_info().rss) < 8 << 20
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        (found,) = (each for each in ours.children() if each.pid == child.pid)
        child.send_signal(signal.SIGSTOP)
        while not found.is_stopped:
            time.sleep(0.01)
        child.send_signal(signal.SIGCONT)
        child.communicate(b"\n")
    assert not found.is_alive
    assert not Process(os.getpid(), ours.began + 1).is_alive  # another one of the same number


def test_a_small_folder_is_full_for_whoever_is_inside() -> None:
    try:
        folder = SmallFolder()
    except NoSmallFolderError as error:
        pytest.skip(str(error))
    script = f"""
import os, socket
def bind(number):
    try:
        socket.socket(socket.AF_UNIX).bind({str(folder.path)!r} + f"/{{number}}.sock")
    except OSError as error:
        return error.strerror
    return "bound"
for number in range(3):
    print(bind(number), flush=True)
    input()
"""
    with (
        folder,
        subprocess.Popen(
            [*folder.inside, sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        told = []
        for then in (folder.fill, folder.free, lambda pid: None):
            told.append(process.stdout.readline().strip())
            then(process.pid)
            process.stdin.write("\n")
            process.stdin.flush()
        assert told == ["bound", "No space left on device", "bound"]
        assert not list(folder.path.iterdir())  # seen from outside
    assert not folder.path.exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_fault_is_borne_once(
    tiny_bundle: Path,
    users: Path,
    settings: Path,
    tmp_path: Path,
    sidecars: Callable[[], list[Process]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    before, out = sidecars(), tmp_path / "faults.json"
    command = ["bench", "faults", "--bundle", str(tiny_bundle), "--interactions", str(users), "--top-k", "5"]
    command += ["--times", "1", "--rate", "5", "--deadline-s", "20", "--config", str(settings), "--json", str(out)]
    code = main(command)
    print(capsys.readouterr().out)
    result = json.loads(out.read_text())
    assert [row["at_fault"] for row in result["rows"]] == [[]] * len(FAULTS)
    assert (code, result["passed"]) == (0, True)
    assert [row["fault"] for row in result["rows"]] == list(FAULTS)
    for row in result["rows"]:
        if row["left_out"]:
            assert row["fault"] == "full-sockets"
            continue
        assert row["done"] == 1
        assert row["sent"] == row["right"] + sum(row["errors"].values()) > 10
        assert row["right"] > 0
    assert sidecars() == before


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_bench_leaves_nothing_behind(
    tiny_bundle: Path, users: Path, settings: Path, number: signal.Signals, code: int
) -> None:
    """In the middle of a fault: a worker is stopped then, and could not end by itself."""
    command = [sys.executable, "-m", "sidebeam.command.main", "bench", "faults", "--bundle", str(tiny_bundle)]
    command += ["--interactions", str(users), "--top-k", "5", "--faults", "stop-only-target", "--times", "50"]
    family: list[psutil.Process] = []
    with psutil.Popen([*command, "--config", str(settings)], stderr=subprocess.DEVNULL) as bench:
        while not any(each.status() == psutil.STATUS_STOPPED for each in family):
            assert bench.poll() is None
            family = [each for each in bench.children(recursive=True) if each.is_running()]
            time.sleep(0.01)
        bench.send_signal(number)
        assert bench.wait(60) == code
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


@pytest.mark.slow
async def test_a_stuck_log_costs_no_answer_and_no_time(tiny_bundle: Path) -> None:
    """As a regression test: once, the front's event loop waited for its log."""
    with LogPipe() as log, Sidecar.of(tiny_bundle, "--log-level", "debug", log_to=log.writing) as sidecar:
        async with AsyncClient(sidecar.address, timeout_s=20, retries=0) as client:
            await client.wait_until_ready(120)
            with log.stuck():
                for _ in range(100):
                    assert len((await client.recommend(history=["i3", "i17"], top_k=5)).items) == 5
