"""`sidebeam evaluate knowledge` as it is called."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from sidebeam.downstream import command
from sidebeam.grouping import UserLog

from .conftest import write_log

QUICK = ("--seeds", 2, "--epochs", 2, "--dim", 32, "--negatives", 2, "--history", 4, "--threads", 1)


def _run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(each) for each in arguments]))


def test_a_report(
    tmp_path: Path, logs: list[UserLog], told: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    interactions, out = write_log(tmp_path / "log.jsonl", logs), tmp_path / "out.json"
    texts = ("--user-texts", f"exact={told['users']}", "--item-texts", f"exact={told['items']}")
    more = ("--user-texts", f"relaxed={told['blank']}", "--out", out)
    assert _run("--interactions", interactions, *texts, *more, *QUICK) == 0
    shown = capsys.readouterr().out
    for name in ("none", "exact", "relaxed", "exact - none", "relaxed - none", "relaxed - exact"):
        assert f"\n{name} " in shown
    report = json.loads(out.read_text())
    assert report["version"] == 1
    assert list(report["arms"]) == ["none", "exact", "relaxed"]
    for arm in report["arms"].values():
        assert len(arm["seeds"]) == 2
        assert arm["auc"]["mean"] == pytest.approx(sum(seed["auc"] for seed in arm["seeds"]) / 2)
        assert arm["auc"]["low"] <= arm["auc"]["mean"] <= arm["auc"]["high"]
    assert report["plan"]["negatives"] == 2
    assert "negatives: drawn evenly" in report["protocol"]
    first = out.read_text()
    assert _run("--interactions", interactions, *texts, *more, *QUICK) == 0
    assert out.read_text() == first


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "there must be --user-texts or --item-texts"),
        (("--user-texts", "users.jsonl"), "--user-texts must be NAME=FILE; given 'users.jsonl'"),
        (("--user-texts", "a=x", "--user-texts", "a=y"), "--user-texts must name each file once; given 'a' twice"),
        (("--item-texts", "none=x"), "the name 'none' is that of the arm without texts"),
        (("--user-texts", "a=no.jsonl"), "--user-texts a: no.jsonl: cannot be read"),
        (("--user-texts", "a=x", "--seeds", 0), "--seeds must be at least 1; given 0"),
        (("--user-texts", "a=x", "--threads", 0), "--threads must be at least 1; given 0"),
        (("--user-texts", "a=x", "--dim", 0), "--dim must be at least 1; given 0"),
        (("--user-texts", "a=x", "--encoder", "no-model"), "--encoder no-model: cannot be opened"),
        (("--user-texts", "a=x", "--out", "none/out.json"), "--out must be a file in a folder that can be written to"),
    ],
)
def test_bad_options(
    tmp_path: Path,
    logs: list[UserLog],
    capsys: pytest.CaptureFixture[str],
    options: tuple[object, ...],
    says: str,
) -> None:
    interactions = write_log(tmp_path / "log.jsonl", logs)
    assert _run("--interactions", interactions, *options) == 2
    told = capsys.readouterr().err
    assert told.startswith("sidebeam evaluate knowledge: ")
    assert says in told
