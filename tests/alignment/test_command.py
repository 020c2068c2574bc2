"""`sidebeam train teacher` and `sidebeam train draft` as users call them."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sidebeam.alignment import command
from sidebeam.bundle import Bundle

from .conftest import School


def _run(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="sidebeam train")
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


@pytest.fixture
def bundle(school: School, tmp_path: Path) -> Path:
    shutil.copytree(school.target.out, tmp_path / "bundle")
    return tmp_path / "bundle"


def _teacher(school: School, bundle: Path) -> list[str]:
    files = ["--bundle", str(bundle), "--interactions", str(school.target.interactions)]
    return ["teacher", *files, "--out", str(bundle.parent / "teacher"), "--users", "6", "--top-k", "4"]


def _draft(school: School, bundle: Path) -> list[str]:
    files = ["--items", str(school.target.items), "--interactions", str(school.target.interactions)]
    sizes = ["--layers", "1", "--hidden", "16", "--heads", "2", "--max-steps", "3", "--device", "cpu"]
    return ["draft", *files, "--out", str(bundle), *sizes]


def test_teacher_then_draft(school: School, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teacher = str(bundle.parent / "teacher")
    assert _run(*_teacher(school, bundle), "--shard-size", "40", "--threads", "1") == 0
    written = capsys.readouterr()
    told = re.fullmatch(
        rf"{re.escape(teacher)}: (\d+) training and 6 validation prompts, 4 beams of every depth, [\d.]+ MB; "
        r"([\d,]+) bytes per prompt \(AtSpeed's reference code: about 1 MB, ([\d,]+) times as much\)\n",
        written.out,
    )
    assert told is not None
    size = sum(path.stat().st_size for path in Path(teacher).glob("*.safetensors"))
    assert int(told[2].replace(",", "")) == round(size / (int(told[1]) + 6))
    assert re.search(r"teacher: train-00000\.safetensors, \d shards to go, [\d,]+ prompts/s", written.err)

    options = ["--teacher", teacher, "--objective", "atspeed-s", "--beta", "0.5", "--tau", "2", "--alpha", "0.7"]
    assert _run(*_draft(school, bundle), *options) == 0
    assert _run(*_draft(school, bundle), "--teacher", teacher, "--beams", "6", "--overwrite") == 0
    assert _run(*_draft(school, bundle), "--overwrite") == 0
    assert Bundle.open(bundle).draft == bundle / "draft"


@pytest.mark.parametrize(
    ("options", "objective", "alpha"),
    [
        ([], "word-kd", 0.8),
        (["--teacher", "t"], "joint", 1.0),
        (["--teacher", "t", "--objective", "atspeed-s"], "atspeed-s", 0.985),
        (["--teacher", "t", "--objective", "seq-kd"], "seq-kd", 0.95),
        (["--teacher", "t", "--alpha", "0.5"], "joint", 0.5),
    ],
)
def test_what_is_not_said_is_what_did_best(options: list[str], objective: str, alpha: float) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    files = ["--items", "items.json", "--interactions", "users.jsonl", "--out", "bundle"]
    aim = command._lesson(parser.parse_args(["draft", *files, *options])).aim
    assert (aim.objective, aim.alpha) == (objective, alpha)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--top-k", "0"], "--top-k must be at least 1. Given: 0"),
        (["--resume"], "no teacher data; `sidebeam train teacher` makes them"),
        (["--interactions", "nowhere.jsonl"], "nowhere.jsonl: cannot be read: No such file or directory"),
        (["--device", "cuda:99"], "--device cuda:99 cannot be used: "),
        (["--bundle", "nowhere"], "nowhere is not a usable bundle: no such folder"),
    ],
)
def test_a_bad_teacher_ends_with_2(
    school: School, bundle: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert _run(*_teacher(school, bundle), *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sidebeam train teacher: ")
    assert says in line
    assert not (bundle.parent / "teacher").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--objective", "atspeed-s"], "--objective atspeed-s learns from teacher data: `sidebeam train teacher`"),
        (["--teacher", "nowhere"], "nowhere: no teacher data; `sidebeam train teacher` makes them"),
        (["--alpha", "2"], "--alpha must be from 0 to 1. Given: 2.0"),
        (["--tau", "0.001"], "--tau must be from 0.1 to 10.0. Given: 0.001"),
    ],
)
def test_a_bad_draft_ends_with_2(
    school: School, bundle: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert _run(*_draft(school, bundle), *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"sidebeam train draft: {says}")
    assert not (bundle / "draft").exists()


def test_numbers_must_be_numbers(school: School, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        _run(*_draft(school, bundle), "--level-weights", "1,two")
    assert "--level-weights: must be numbers with commas between; given '1,two'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--objective", "top-n"], ["--objective", "atspeed-r", "--on-policy"]])
def test_two_processes_train_one_draft(school: School, bundle: Path, options: list[str]) -> None:
    """Logits are made outside the wrapped model's forward; still it is everybody's gradient that each process takes."""
    program = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "sidebeam.command.main"]
    taught = ["--teacher", str(school.teacher.out), "--beams", "8", *options, "--batch-size", "8", "--max-steps", "20"]
    done = subprocess.run(
        [sys.executable, "-m", *program, "train", *_draft(school, bundle), *taught, "--threads", "1"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"{bundle / 'draft'}: 20 steps") == 1
    together = load_file(bundle / "draft" / "model.safetensors")
    assert _run(*_draft(school, bundle), *taught, "--accumulate", "2", "--overwrite") == 0
    alone = load_file(bundle / "draft" / "model.safetensors")
    for name in alone:
        torch.testing.assert_close(together[name], alone[name], atol=1e-4, rtol=1e-3)
