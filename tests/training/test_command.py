"""`sidebeam train` as users call it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sidebeam.alignment import command
from sidebeam.bundle import Bundle

from .bases import save_base


def _run(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="sidebeam train")
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


def _files(data: Path, out: Path) -> list[str]:
    files = ["--items", str(data / "items.json"), "--interactions", str(data / "interactions.jsonl"), "--out", str(out)]
    return [*files, "--max-steps", "3", "--device", "cpu"]


def _options(data: Path, out: Path) -> list[str]:
    return [*_files(data, out), "--layers", "1", "--hidden", "16", "--heads", "2"]


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
        (["--accumulate", "0"], "--accumulate must be at least 1. Given: 0"),
        (["--patience", "-1"], "--patience must be at least 0. Given: -1"),
        (["--weight-decay", "-1"], "--weight-decay must be at least 0. Given: -1.0"),
        (["--max-history", "0"], "--max-history must be at least 1. Given: 0"),
        (["--template", "Next?"], "--template must hold {history} exactly once"),
        (["--label-smoothing", "1.5"], "--label-smoothing must be from 0 to below 1. Given: 1.5"),
        (["--dropout", "1"], "--dropout must be from 0 to below 1. Given: 1.0"),
        (["--lora", "4"], "--lora needs a trained model, --base. Given: --lora 4 alone"),
        (["--lora-alpha", "4"], "--lora-alpha needs --lora. Given: 4"),
        (["--base", "nowhere"], "--layers is for a fresh model; --base brings its own. Given: 1"),
        (["--precision", "fp16"], "--precision fp16 needs an accelerator; a CPU takes no or bf16. Given: fp16"),
        (["--lr", "1e30"], "step 2: the norm of the gradient is nan; a lower --lr than 1e+30 may help"),
    ],
)
def test_bad_input_ends_with_2(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert _run("target", *_options(data, tmp_path / "bundle"), *options) == 2
    written = capsys.readouterr().err
    assert written.startswith("sidebeam train target: ")
    assert says in written
    assert written.count("\n") == 1
    assert not (tmp_path / "bundle").exists()


def test_bad_interactions_are_named_by_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (data / "interactions.jsonl").read_text().splitlines()
    bad = tmp_path / "bad.jsonl"
    for line, says in (('{"train": [1, 4711]}', "item id 4711 is not one of the 96 items"), ("{", "not JSON")):
        bad.write_text("\n".join([*lines[:6], line, *lines[6:]]))
        options = [*_options(data, tmp_path / "bundle"), "--interactions", str(bad)]
        assert _run("target", *options) == 2
        written = capsys.readouterr().err
        assert f"{bad}, line 7" in written
        assert says in written
        assert not (tmp_path / "bundle").exists()


def test_a_base_with_adapters_and_an_instruction(data: Path, tmp_path: Path) -> None:
    options = _files(data, tmp_path / "bundle")
    base = ["--base", str(save_base(tmp_path / "base", "qwen2")), "--lora", "2", "--lora-dropout", "0.1"]
    prompt = ["--template", "instruction", "--separator", " / ", "--max-history", "5", "--loss-on", "all"]
    assert _run("target", *options, *base, *prompt, "--label-smoothing", "0.1", "--dropout", "0.1") == 0
    bundle = Bundle.open(tmp_path / "bundle")
    assert bundle.prompt.template.startswith("Here is an instruction.")
    assert (bundle.prompt.item_separator, bundle.prompt.max_history) == (" / ", 5)
    assert _run("target", *options, *base, *prompt, "--overwrite") == 0
    assert _run("target", *options, *base, "--overwrite") == 2  # other prompts than the manifest's


def test_a_part_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        _run()
    assert "target|teacher|draft" in capsys.readouterr().err


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
