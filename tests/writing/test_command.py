"""`sidebeam knowledge generate` as it is called."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from sidebeam.texts import Exact, Relaxed, Sampled
from sidebeam.writing import command

from .conftest import Shop, asked, read, write_lines
from .test_text_file import disk_of


def _parsed(*arguments: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sidebeam knowledge generate")
    command.add_arguments(parser)
    return parser.parse_args([str(each) for each in arguments])


@pytest.fixture
def files(shop: Shop, tmp_path: Path) -> list[object]:
    prompts = write_lines(tmp_path / "prompts.jsonl", asked(6))
    return ["--bundle", shop.root, "--prompts", prompts, "--out", tmp_path / "out.jsonl", "--threads", 1]


def test_a_run_and_its_summary(
    files: list[object], pools: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    assert command.run(_parsed(*files, "--pools", pools, "--verification", "relaxed", "--k", 3, "--p", 0.01)) == 0
    written = capsys.readouterr()
    tokens = sum(line["tokens"] for line in read(out))
    first, second, third, fourth = written.out.splitlines()
    assert first == f"{out}: 6 texts, 0 failed"
    assert re.fullmatch(rf"{out}: {tokens} tokens, [\d,]+ tokens/s, \d\.\d\d tokens per pass", second)
    tier = r"(request|entity|group|global) \d+ of \d+ \(\d+%\)"
    assert re.fullmatch(rf"{out}: drafted tokens accepted: (nothing was drafted|{tier}(, {tier})*)", third)
    assert re.fullmatch(rf"{out}: relaxed tokens: \d+ \(\d+\.\d\d%\)", fourth)
    assert "texts: 6 of 6, " in written.err

    assert command.run(_parsed(*files)) == 2
    assert "there already; continue it with --resume" in capsys.readouterr().err
    assert command.run(_parsed(*files, "--resume")) == 2
    assert "--verification was relaxed, is exact; --k was 3, is not given" in capsys.readouterr().err


def test_a_full_disk(files: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.jsonl"
    with disk_of(700):
        assert command.run(_parsed(*files)) == 1
    said = capsys.readouterr().err
    assert f"File too large: '{out}'; all lines before are whole, the same command with --resume continues" in said
    kept = read(out)
    assert 0 < len(kept) < 6
    assert command.run(_parsed(*files, "--resume")) == 0
    assert len(read(out)) == 6
    assert capsys.readouterr().out.startswith(f"{out}: {6 - len(kept)} texts, 0 failed, {len(kept)} from before\n")
    assert {path.name for path in tmp_path.iterdir()} == {"prompts.jsonl", "out.jsonl", "out.about.json"}


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ((), Exact()),
        (("relaxed",), Relaxed()),
        (("relaxed", "--k", 3, "--p", 0.2, "--max-divergence", 2, "--keep-protected"), Relaxed(3, 0.2, True, 2.0)),
        (("sampled",), Sampled()),
        (("sampled", "--temperature", 0.5, "--sample-top-k", 9, "--seed", 4), Sampled(0.5, 9, 4)),
    ],
)
def test_verification(files: list[object], options: tuple[object, ...], rule: object) -> None:
    given = ("--verification", *options) if options else ()
    assert command._verification(_parsed(*files, *given)) == rule


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--max-new-tokens", 0), "--max-new-tokens must be at least 1; given 0"),
        (("--verification", "relaxed", "--k", 0), "--k must be 1 to 64; given 0"),
        (("--verification", "relaxed", "--max-divergence", -1), "--max-divergence must be 0 or more; given -1.0"),
        (("--verification", "sampled", "--sample-top-k", -1), "--sample-top-k must be 0 or more; given -1"),
        (("--verification", "sampled", "--k", 2), "--k is for --verification relaxed; given sampled"),
        (("--seed", 2), "--seed is for --verification sampled; given exact"),
        (("--groups", "nothing.json"), "nothing.json: cannot be read"),
        (("--device", "nowhere"), "device nowhere cannot be used"),
    ],
)
def test_bad_options_are_named(
    files: list[object], tmp_path: Path, options: tuple[object, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.run(_parsed(*files, *options)) == 2
    assert f"sidebeam knowledge generate: {says}" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"prompts.jsonl"}
