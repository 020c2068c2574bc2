"""`sidebeam train` as users call it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sidebeam.bundle import Bundle
from sidebeam.training import command


def _run(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="sidebeam train")
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


def _options(data: Path, out: Path) -> list[str]:
    files = ["--items", str(data / "items.json"), "--interactions", str(data / "interactions.jsonl"), "--out", str(out)]
    return [*files, "--layers", "1", "--hidden", "16", "--heads", "2", "--max-steps", "3", "--device", "cpu"]


def test_target_then_draft(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [*_options(data, tmp_path / "bundle"), "--threads", "1"]
    assert _run("target", *options, "--max-history", "9") == 0
    assert _run("draft", *options) == 0
    bundle = Bundle.open(tmp_path / "bundle")
    assert bundle.draft is not None
    assert bundle.prompt.max_history == 9
    written = capsys.readouterr()
    assert [line.partition(":")[0] for line in written.out.splitlines()] == [str(bundle.target), str(bundle.draft)]
    assert "target: epoch 1, loss" in written.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--hidden", "15"], "--hidden must be a multiple of twice --heads, 4. Given: 15"),
        (["--threads", "0"], "--threads must be at least 1. Given: 0"),
        (["--interactions", "nowhere.jsonl"], "nowhere.jsonl: cannot be read: No such file or directory"),
        (["--resume"], "no unfinished training to resume"),
    ],
)
def test_bad_input_ends_with_2(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert _run("target", *_options(data, tmp_path / "bundle"), *options) == 2
    written = capsys.readouterr().err
    assert written.startswith("sidebeam train target: ")
    assert says in written
    assert not (tmp_path / "bundle").exists()


def test_a_part_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        _run()
    assert "target|draft" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_train_one_model(data: Path, tmp_path: Path) -> None:
    """Under a launcher, each process takes its share of every epoch's batches, and one of them writes."""
    out = tmp_path / "bundle"
    program = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "sidebeam.command.main"]
    options = [*_options(data, out), "--batch-size", "8", "--epochs", "2", "--max-steps", "999", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, "-m", *program, "train", "target", *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("target: epoch") == 2
    assert done.stdout.count(f"{out / 'target'}: ") == 1
    Bundle.open(out)
