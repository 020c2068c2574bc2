"""Mixes: drawn by weight, filled with histories, and every mistake named with its line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from sidebeam.load.error import LoadError
from sidebeam.load.interactions import read_histories
from sidebeam.load.mix import Mix, read_entries
from sidebeam.v1 import recommendation_pb2 as pb


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_mix_holds_whole_requests(tmp_path: Path) -> None:
    lines = (
        '{"weight": 3, "name": "shelf", "request": {"history": {"item_ids": ["12", "55"]}, "finalOnly": true}}\n\n'
        '{"request": {"topK": 5, "excluded_item_ids": ["7"], "verification": "VERIFICATION_RELAXED", '
        '"sampling": {"seed": 3}}}\n'
    )
    shelf, draw = read_entries(write(tmp_path / "mix", lines))
    history = pb.ItemHistory(item_ids=["12", "55"])
    assert (shelf.name, shelf.weight, shelf.request) == (
        "shelf",
        3.0,
        pb.RecommendRequest(history=history, final_only=True),
    )
    drawn = pb.RecommendRequest(
        top_k=5, excluded_item_ids=["7"], verification=pb.VERIFICATION_RELAXED, sampling=pb.Sampling(seed=3)
    )
    assert (draw.name, draw.weight, draw.request, draw.place) == ("", 1.0, drawn, f"--mix {tmp_path / 'mix'}, line 3")


def test_entries_are_drawn_by_weight_and_the_same_for_a_seed(tmp_path: Path) -> None:
    lines = [f'{{"weight": {weight}, "name": "n{weight}", "request": {{"prompt": "x"}}}}' for weight in (1, 2.5, 6.5)]
    mix = Mix(read_entries(write(tmp_path / "mix", "\n".join(lines))), [])
    random = Random(3)
    counts = Counter(mix.draw(random).name for _ in range(20_000))
    assert [counts[name] / 20_000 for name in mix.names] == pytest.approx([0.1, 0.25, 0.65], abs=0.015)
    once, twice = ([mix.draw(random).name for _ in range(50)] for random in (Random("a"), Random("a")))
    assert once == twice


def test_requests_without_a_context_get_histories(tmp_path: Path) -> None:
    users = '{"user": 1, "train": ["1", 2], "valid": ["3"], "test": ["4"]}\n{"train": []}\n{"train": ["5"]}\n'
    histories = read_histories(write(tmp_path / "users", users))
    assert histories == [("1", "2", "3"), ("5",)]
    entries = read_entries(write(tmp_path / "mix", '{"request": {"top_k": 3}}\n{"request": {"prompt": "own"}}'))
    mix, random = Mix(entries, histories), Random(0)
    drawn = [mix.draw(random).request for _ in range(200)]
    assert {tuple(each.history.item_ids) for each in drawn if each.top_k == 3} == set(histories)
    assert all(not each.HasField("history") for each in drawn if each.prompt)
    assert not entries[0].request.HasField("history")  # the entry itself is left as it was


def test_a_request_without_a_context_needs_histories(tmp_path: Path) -> None:
    entries = read_entries(write(tmp_path / "mix", '\n{"request": {"top_k": 3}}'))
    with pytest.raises(
        LoadError, match=r"mix, line 2: the request has none of history, prompt, tokens; .*--interactions"
    ):
        Mix(entries, [])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object with an object 'request': \\[\\]"),
        ('{"weight": 1}', "must be an object with an object 'request'"),
        ('{"request": {}, "wieght": 1}', "no field 'wieght'; did you mean 'weight'"),
        ('{"request": {}, "zzz": 1}', "no field 'zzz'; there are weight, name, request"),
        ('{"request": {}, "weight": 0}', "weight must be a number above 0 and at most 1e\\+09: 0"),
        ('{"request": {}, "weight": NaN}', "weight must be .*: nan"),
        ('{"request": {}, "weight": "2"}', "weight must be .*: '2'"),
        ('{"request": {}, "weight": true}', "weight must be .*: True"),
        ('{"request": {}, "name": 3}', "name must be a printable text of at most 40 characters: 3"),
        ('{"request": {"topk": 3}}', "request: no field 'topk'; did you mean 'top_k'"),
        ('{"request": {"top_k": -1}}', "request: Failed to parse top_k field: Value out of range: -1"),
        ('{"request": {"top_k": "many"}}', "request: Failed to parse top_k"),
        ('{"request": {"history": ["1"]}}', "request: Failed to parse history"),
        ('{"request": {"verification": "relaxed"}}', "relaxed.*; there are VERIFICATION_STRICT, VERIFICATION_RELAXED"),
        ('{"request": {"excluded_item_ids": "7"}}', "request: Failed to parse excluded_item_ids"),
    ],
)
def test_a_bad_line_is_named(line: str, problem: str, tmp_path: Path) -> None:
    path = write(tmp_path / "mix", f'{{"request": {{"prompt": "x"}}}}\n{line}\n')
    with pytest.raises(LoadError, match=rf"^--mix .*mix, line 2: .*{problem}"):
        read_entries(path)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not JSON"),
        ('{"user": 1}', "must be an object with the field 'train'"),
        ('{"train": "12"}', "train: must be a list of item ids, not '12'"),
        ('{"train": ["1"], "valid": [null]}', "valid: None is not an item id"),
        ('{"train": [1.5]}', "train: 1.5 is not an item id"),
    ],
)
def test_a_bad_user_is_named(line: str, problem: str, tmp_path: Path) -> None:
    path = write(tmp_path / "users", f'{{"train": ["1"]}}\n\n{line}')
    with pytest.raises(LoadError, match=rf"^--interactions .*users, line 3.*{problem}"):
        read_histories(path)


def test_files_that_hold_nothing_or_are_none(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="holds no requests"):
        read_entries(write(tmp_path / "mix", "\n \n"))
    with pytest.raises(LoadError, match="holds no user with items"):
        read_histories(write(tmp_path / "users", '{"train": []}'))
    with pytest.raises(LoadError, match=r"--mix .*absent: cannot be read: No such file"):
        read_entries(tmp_path / "absent")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(LoadError, match=r"--interactions .*bytes: cannot be read: not UTF-8 text"):
        read_histories(tmp_path / "bytes")
