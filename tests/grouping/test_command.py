"""`sidebeam knowledge groups` as it is called: files in, files out, errors by name."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from sidebeam.grouping import command, read_groups
from sidebeam.grouping.embeddings import Embeddings


def _run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([*map(str, arguments), "--threads", "1"]))


def test_users_by_what_they_did_and_else_by_what_they_are(
    tmp_path: Path, interactions: Path, attributes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "groups.json"
    files = ("--interactions", interactions, "--attributes", attributes, "--out", out)
    options = ("--of", "users", "--groups", 2, "--threshold", 8, "--epochs", 3, "--dim", 8, "--by", "town")
    assert _run(*files, *options, "--save-embeddings", tmp_path / "v.npz") == 0
    groups = read_groups(out)
    lengths = {}
    for line in interactions.read_text().splitlines():
        log = json.loads(line)
        lengths[log["user"]] = len(log["train"])
    assert set(groups) == set(lengths)
    assert {groups[user].startswith("near ") for user, length in lengths.items() if length >= 8} == {True}
    assert {user for user, group in groups.items() if group.startswith("near ")} == {
        user for user, length in lengths.items() if length >= 8
    }
    assert Embeddings.open(tmp_path / "v.npz").vectors.shape == (60, 8)
    made = json.loads((tmp_path / "groups.about.json").read_text())["made"]
    assert made["source"]["vectors"] == "LightGCN"
    assert made["by"] == ["town"]
    assert "60 users in" in capsys.readouterr().out
    first = out.read_text()
    assert _run(*files, *options) == 0
    assert out.read_text() == first


def test_vectors_from_a_file_and_from_texts(tmp_path: Path, interactions: Path) -> None:
    ids = [f"i{n}" for n in range(24)]
    np.savez(tmp_path / "v.npz", ids=ids, vectors=np.repeat(np.eye(2), 12, axis=0))
    texts = ["oak and walnut, warm", "brass and copper, bright"]
    (tmp_path / "texts.jsonl").write_text(
        "\n".join(json.dumps({"entity": each, "text": texts[n >= 12] + f" {n % 3}"}) for n, each in enumerate(ids))
    )
    wanted = {each: f"near {int(n >= 12)}" for n, each in enumerate(ids)}
    for option, name in (("--embeddings", "v.npz"), ("--texts", "texts.jsonl")):
        out = tmp_path / f"{name}.json"
        files = ("--interactions", interactions, option, tmp_path / name, "--out", out)
        assert _run(*files, "--of", "items", "--groups", 2, "--threshold", 0) == 0
        assert read_groups(out) == wanted


def test_attributes_alone(
    tmp_path: Path, interactions: Path, attributes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "groups.json"
    files = ("--interactions", interactions, "--attributes", attributes, "--out", out)
    assert _run(*files, "--of", "users", "--groups", 0, "--by", "town,age", "--largest", 20) == 0
    groups = read_groups(out)
    assert groups["u3"] == "town=Ede"
    assert groups["u1"] == "town=Wye/age=low"
    assert groups["u55"] == "rest of town"
    assert _run(*files, "--of", "users", "--groups", 0, "--by", "town", "--largest", 20) == 0
    assert "larger than 20 with no attribute left to split by: town=Wye (33)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--groups", -1), "--groups must be at least 0; given -1"),
        (("--groups", 0), "--groups 0 leaves attribute groups alone, which need --attributes"),
        (("--groups", 99, "--epochs", 1), "--groups must be at most 60, the number of users; given 99"),
        (("--groups", 2, "--threshold", -1, "--epochs", 1), "--threshold must be at least 0"),
        (("--groups", 2, "--embeddings", "a.npz", "--texts", "b"), "take one of them"),
        (("--groups", 2, "--embeddings", "none.npz"), "none.npz: cannot be read: No such file"),
        (("--groups", 2, "--save-embeddings", "x.bin"), "--save-embeddings must end in .npz"),
        (("--groups", 2, "--seed", -1), "--seed must be at least 0"),
        (("--groups", 2, "--attributes", "none.jsonl"), "none.jsonl: cannot be read"),
    ],
)
def test_bad_options(
    tmp_path: Path, interactions: Path, capsys: pytest.CaptureFixture[str], options: tuple[object, ...], says: str
) -> None:
    out = tmp_path / "groups.json"
    assert _run("--interactions", interactions, "--of", "users", "--out", out, *options) == 2
    told = capsys.readouterr().err
    assert told.startswith("sidebeam knowledge groups: ")
    assert says in told
    assert [each.name for each in tmp_path.iterdir()] == ["interactions.jsonl"]
