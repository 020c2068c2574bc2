"""Building pools from files: what is made, and everything that may be wrong with the files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from sidebeam.knowledge.builder import build_pools
from sidebeam.knowledge.command import SUMMARY, add_arguments, run
from sidebeam.knowledge.error import KnowledgeError, PoolError
from sidebeam.knowledge.folder import Writer
from sidebeam.knowledge.pools import Pools
from sidebeam.knowledge.tokenizer import TextTokenizer, end_token, tokenizer_fingerprint
from sidebeam.training.progress import ProgressBar
from tests.knowledge.test_pools import content, disk_of

WORDS = ["<eos>", "likes", "quiet", "loud", "films", "books", "and", "old", "new"]
EOS = 0


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    fast = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="new"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    fast.decoder = decoders.WordPiece()
    fast.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "<eos>"}}))
    return folder


def ids(text: str) -> list[int]:
    return [WORDS.index(word) for word in text.split()]


def write(path: Path, *lines: Any) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def command(*arguments: object) -> int:
    import argparse

    parser = argparse.ArgumentParser(description=SUMMARY)
    add_arguments(parser)
    return run(parser.parse_args([str(argument) for argument in arguments]))


def test_built_pools_hold_the_texts(tmp_path: Path, tokenizer_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = write(
        tmp_path / "texts.jsonl",
        {"entity": "7", "text": "likes loud films"},
        {"entity": "8", "text": "likes old books and quiet films"},
        "",
        {"entity": "9", "tokens": [*ids("quiet books"), EOS, 5]},
        {"entity": "7", "text": "likes quiet films"},
    )
    groups = write(tmp_path / "groups.json", {"7": "a", "9": "a", "10": "b"})
    out = tmp_path / "pools"
    made = ("build", "--texts", texts, "--groups", groups, "--out", out, "--tokenizer", tokenizer_folder)
    assert command(*made) == 0
    told = capsys.readouterr().out
    assert "3 texts of 14 tokens in the pool of all and 1 of groups" in told
    assert "1 replaced by later lines" in told
    assert "1 of no group" in told
    assert "1 entities of groups without a text" in told
    with Pools.open(out, tokenizer_fingerprint(tokenizer_folder)) as pools:
        assert (pools.eos, pools.groups, pools.n_texts) == (EOS, ["a"], 3)
        assert pools.count(ids("loud")) == 0
        assert pools.count([*ids("quiet films"), EOS]) == 2
        assert pools.count(ids("films"), "a") == 1
        told_of_9 = pools.text("9")
        assert told_of_9 is not None
        assert told_of_9.tolist() == [*ids("quiet books"), EOS]
        draft = pools.session(ids("likes quiet"), "7", "a").draft(3, 3)
        assert draft.tokens.tolist()[:2] == [*ids("films"), EOS]
    assert command("show", "--pools", out) == 0
    assert "3 texts, 1 groups" in capsys.readouterr().out
    files = content(out)
    assert command(*made) == 0  # again, in place of the first ones
    assert sorted(digest for name, digest in content(out).items() if name.endswith(".pool")) == sorted(
        digest for name, digest in files.items() if name.endswith(".pool")
    )
    assert len(list(out.glob("*.pool"))) == 2
    assert command("delete", "--pools", out, "--entity", "7", "--entity", "9") == 0
    with Pools.open(out, tokenizer_fingerprint(tokenizer_folder)) as pools:
        assert (pools.n_texts, pools.groups) == (1, [])
    assert command("delete", "--pools", out, "--entity", "7") == 2
    assert "has no text of '7'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: must be"),
        ('{"text": "likes"}', "line 2: must be"),
        ('{"entity": 7, "text": "likes"}', "line 2: must be"),
        ('{"entity": "", "text": "likes"}', "line 2: must be"),
        ('{"entity": "7"}', "line 2: must have a text"),
        ('{"entity": "7", "text": "a", "tokens": [1]}', "line 2: must have a text"),
        ('{"entity": "7", "tokens": [-1]}', "line 2: must have a text, or tokens from 0 to"),
        ('{"entity": "7", "tokens": [true]}', "line 2: must have a text"),
        ('{"entity": "7", "text": "\\ud800"}', "line 2: text is not valid Unicode"),
        ('{"entity": "\\ud800", "text": "a"}', "line 2: must be"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_left(
    tmp_path: Path, tokenizer_folder: Path, line: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = write(tmp_path / "texts.jsonl", {"entity": "1", "text": "likes"}, line)
    out = tmp_path / "pools"
    assert command("build", "--texts", texts, "--out", out, "--tokenizer", tokenizer_folder) == 2
    assert f"{texts}, {problem}" in capsys.readouterr().err
    assert not out.exists()


def test_what_the_offline_job_wrote_can_be_built_of(
    tmp_path: Path, tokenizer_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its lines count their tokens, and name the prompts that failed."""
    texts = write(
        tmp_path / "texts.jsonl",
        {"entity": "7", "text": "likes loud films", "tokens": 3, "passes": 2, "stop": "end"},
        {"entity": "8", "error": "prompt must be 1 to 30 tokens; given 41"},
    )
    out = tmp_path / "pools"
    assert command("build", "--texts", texts, "--out", out, "--tokenizer", tokenizer_folder) == 0
    with Pools.open(out, tokenizer_fingerprint(tokenizer_folder)) as pools:
        assert pools.n_texts == 1
        assert pools.text("7") is not None
        assert pools.text("8") is None


@pytest.mark.parametrize("content", ["", "[]", '{"7": 3}', '{"7": ""}', '{"7": "\\ud800"}', '{"7": "a", "7": "b"}'])
def test_bad_groups_are_named(tmp_path: Path, tokenizer_folder: Path, content: str, bar: ProgressBar) -> None:
    texts = write(tmp_path / "texts.jsonl", {"entity": "1", "text": "likes"})
    groups = write(tmp_path / "groups.json", content)
    fast = TextTokenizer.open(tokenizer_folder)
    with pytest.raises(KnowledgeError, match=r"groups\.json[:,] "):
        build_pools(texts, groups, fast, tmp_path / "pools", bar, fingerprint="x", eos=None)


def test_what_cannot_be_built_is_named(
    tmp_path: Path, tokenizer_folder: Path, bar: ProgressBar, capsys: pytest.CaptureFixture[str]
) -> None:
    fast = TextTokenizer.open(tokenizer_folder)
    out = tmp_path / "pools"
    empty = write(tmp_path / "empty.jsonl")
    with pytest.raises(KnowledgeError, match=r"empty\.jsonl: holds no texts"):
        build_pools(empty, None, fast, out, bar, fingerprint="x", eos=None)
    with pytest.raises(KnowledgeError, match=r"none\.jsonl: cannot be read"):
        build_pools(tmp_path / "none.jsonl", None, fast, out, bar, fingerprint="x", eos=None)
    texts = write(tmp_path / "texts.jsonl", {"entity": "1", "text": "likes"})
    with Writer(out), pytest.raises(PoolError, match="another process is writing"):
        build_pools(texts, None, fast, out, bar, fingerprint="x", eos=None)
    build = ("build", "--texts", texts, "--out", out)
    assert command(*build, "--tokenizer", tmp_path) == 2
    assert "tokenizer.json: cannot be read" in capsys.readouterr().err
    assert command(*build, "--tokenizer", tokenizer_folder, "--eos", "nothing") == 2
    assert "no token 'nothing'" in capsys.readouterr().err
    assert command(*build, "--bundle", tmp_path) == 2
    assert "not a usable bundle" in capsys.readouterr().err


def test_a_full_disk_leaves_the_pools_of_before(
    tmp_path: Path, tokenizer_folder: Path, bar: ProgressBar, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = write(tmp_path / "texts.jsonl", {"entity": "1", "text": "likes"})
    out = tmp_path / "pools"
    build = ("build", "--texts", texts, "--out", out, "--tokenizer", tokenizer_folder)
    with disk_of(200):
        assert command(*build) == 1
    assert not out.exists()
    assert (
        capsys.readouterr().err
        == f"sidebeam knowledge pools: {out}/global-1.pool: File too large; nothing was changed\n"
    )
    assert command(*build) == 0
    files = content(out)
    write(texts, *({"entity": str(n), "text": "likes old books"} for n in range(300)))
    with disk_of(2000):
        assert command(*build) == 1
    assert content(out) == files


def test_the_end_token_is_found_where_folders_tell_it(tmp_path: Path, tokenizer_folder: Path) -> None:
    assert end_token(tokenizer_folder) == EOS
    assert end_token(tmp_path) is None
    (tmp_path / "config.json").write_text('{"eos_token_id": [5, 6]}')
    assert end_token(tmp_path) == 5
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 3}')
    assert end_token(tmp_path) == 3


@pytest.mark.slow
def test_kernels_work_where_the_cache_cannot_be_written(tmp_path: Path) -> None:
    """A disk that is full when the kernels are to be kept: the process goes on with what it compiled."""
    script = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
from sidebeam.knowledge.warm_up import warm_up
warm_up()
"""
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
