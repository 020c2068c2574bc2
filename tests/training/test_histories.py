"""Bad items and interactions: the error names the file, the place and the value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidebeam.training import Items, TrainingError, read_interactions

ITEMS = {"7": ["<a_1>", "<b_2>"], "x": ["<a_1>", "<b_3>"]}


@pytest.fixture
def items(tmp_path: Path) -> Items:
    path = tmp_path / "items.json"
    path.write_text(json.dumps(ITEMS))
    return Items.open(path)


def test_items_keep_the_order_of_the_file(items: Items) -> None:
    assert items.ids == ("7", "x")
    assert items.sids == (("<a_1>", "<b_2>"), ("<a_1>", "<b_3>"))
    assert items.depth == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: not JSON"),
        ("{\n'7': []}", "line 2: not JSON"),
        ("[1, 2]", "must hold one JSON object"),
        ("[]", "must hold one JSON object"),
        ("{}", "at least one item id"),
        ('{"7": ["<a_1>"], "7": ["<a_2>"]}', "item '7' stands in the file twice"),
        ('{"7": "<a_1>"}', "item '7' must have a list of SID tokens, not '<a_1>'"),
        ('{"7": []}', "item '7' must have a list of SID tokens"),
        ('{"7": [3]}', "item '7' must have a list of SID tokens, not [3]"),
        ('{"7": ["<a_1>", "<b_1>"], "8": ["<a_1>"]}', "item '8' has 1 SID tokens where the first item has 2"),
        ('{"7": ["a 1"]}', "item '7' has the SID token 'a 1'"),
    ],
)
def test_bad_items(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "items.json"
    path.write_text(text)
    with pytest.raises(TrainingError) as error:
        Items.open(path)
    assert str(error.value).startswith(str(path))
    assert says in str(error.value)


def test_ids_may_be_integers_or_strings(tmp_path: Path, items: Items) -> None:
    path = tmp_path / "interactions.jsonl"
    path.write_text('{"user": 5, "train": [7, "x", "7"], "valid": ["x"]}\n\n{"train": []}\n')
    first, second = read_interactions(path, items)
    assert (first.user, first.train, first.valid, first.test) == ("5", (0, 1, 0), (1,), ())
    assert second.train == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no users"),
        ('{"train": [7]}\n{"train": [7', "line 2: not JSON"),
        ('{"train": [7]}\n\n[7, 7]\n', "line 3: must be an object with the field 'train': [7, 7]"),
        ('{"valid": [7]}', "line 1: must be an object with the field 'train'"),
        ('{"train": "7"}', "line 1, train: must be a list of item ids, not '7'"),
        ('{"train": [7, 12]}', "line 1, train: item id 12 is not one of the 2 items"),
        ('{"train": [7], "test": ["y"]}', "line 1, test: item id 'y' is not one of the 2 items"),
        ('{"train": [true]}', "line 1, train: item id True"),
        ('{"train": [7.0]}', "line 1, train: item id 7.0"),
    ],
)
def test_bad_interactions(tmp_path: Path, items: Items, text: str, says: str) -> None:
    path = tmp_path / "interactions.jsonl"
    path.write_text(text)
    with pytest.raises(TrainingError) as error:
        read_interactions(path, items)
    assert str(error.value).startswith(str(path))
    assert says in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path, items: Items) -> None:
    with pytest.raises(TrainingError, match=r"none\.json: cannot be read: No such file"):
        Items.open(tmp_path / "none.json")
    binary = tmp_path / "binary.jsonl"
    binary.write_bytes(b"\xff\xfe{}")
    with pytest.raises(TrainingError, match="cannot be read: not UTF-8"):
        read_interactions(binary, items)
