"""`sidebeam knowledge prompts` as it is called."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import pytest

from sidebeam.prompts import PromptError, command, read_prompts, write_prompts


def _run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(each) for each in arguments]))


@pytest.fixture
def files(tmp_path: Path) -> tuple[object, ...]:
    logs = [{"user": 1, "train": ["a", "b"], "test": ["c"]}, {"user": 2, "train": []}]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, logs)))
    items = [{"entity": each, "title": f"Thing {each}", "brand": "Osk"} for each in "abc"]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, items)))
    return ("--interactions", tmp_path / "log.jsonl", "--attributes", tmp_path / "items.jsonl")


def test_users_and_items(tmp_path: Path, files: tuple[object, ...], capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.jsonl"
    assert _run(*files, "--kind", "user", "--out", out) == 0
    prompts = read_prompts(out)
    assert list(prompts) == ["1"]
    assert '"Thing a", "Thing b"' in prompts["1"]
    assert "Thing c" not in prompts["1"]  # it came later
    assert capsys.readouterr().out == f"{out}: 1 prompts; 1 users without items left out\n"
    assert _run(*files, "--kind", "item", "--out", out) == 0
    assert list(read_prompts(out)) == ["a", "b"]
    assert _run(*files[2:], "--kind", "item", "--out", out) == 0
    assert list(read_prompts(out)) == ["a", "b", "c"]


def test_own_templates(tmp_path: Path, files: tuple[object, ...]) -> None:
    mine = tmp_path / "mine"
    assert _run("--copy-templates", mine) == 0
    (mine / "user.toml").write_text('prompt = "{id}: {history}"\nentry = "{title} ({brand})"\nseparator = " | "\n')
    out = tmp_path / "out.jsonl"
    assert _run(*files, "--kind", "user", "--templates", mine, "--out", out) == 0
    assert json.loads(out.read_text()) == {"entity": "1", "prompt": "1: Thing a (Osk) | Thing b (Osk)"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "there must be --kind, --out"),
        (("--kind", "user", "--out", "x", "--templates", "none"), "none/user.toml: cannot be read"),
        (("--kind", "user", "--out", "x", "--interactions", "none"), "none: cannot be read"),
    ],
)
def test_bad_options(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: tuple[object, ...],
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(os.listdir(tmp_path))
    assert _run(*files, *options) == 2
    told = capsys.readouterr().err
    assert told.startswith("sidebeam knowledge prompts: ")
    assert says in told
    assert sorted(os.listdir(tmp_path)) == before


def test_an_error_in_the_middle_leaves_the_old_file(tmp_path: Path, files: tuple[object, ...]) -> None:
    out = tmp_path / "out.jsonl"
    assert _run(*files, "--kind", "user", "--out", out) == 0
    before = out.read_text()
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('\n{"user": 3, "train": ["zz"]}\n')
    assert _run(*files, "--kind", "user", "--out", out) == 2
    assert out.read_text() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["items.jsonl", "log.jsonl", "out.jsonl"]


def test_prompt_files(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    assert write_prompts(path, [("ü", 'a "b"\nc')]) == 1
    assert read_prompts(path) == {"ü": 'a "b"\nc'}
    with pytest.raises(PromptError, match="there is no entity"):
        write_prompts(path, [])
    with pytest.raises(PromptError, match="cannot be written: No such file"):
        write_prompts(tmp_path / "none" / "p.jsonl", [("a", "b")])
    for text, says in (
        (
            '{"entity": "a", "prompt": "x"}\n{"entity": "a", "prompt": "x"}',
            "line 2: entity 'a' stands in the file twice",
        ),
        ('{"entity": "a"}', "line 1, prompt: must be text; given None"),
        ("{", "line 1: not JSON"),
    ):
        path.write_text(text)
        with pytest.raises(PromptError, match=says):
            read_prompts(path)
