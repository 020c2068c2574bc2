"""Bad interactions, attributes, texts and groups: the error names the file, the place and the value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidebeam.grouping import GroupingError, UserLog, read_attributes, read_groups, read_logs, write_groups
from sidebeam.grouping.groups_file import provenance_path
from sidebeam.grouping.interactions import interaction_counts
from sidebeam.grouping.texts_file import read_texts


def _written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "file.jsonl"
    path.write_text(text, encoding="utf-8")
    return path


def test_logs_keep_order_and_ids_become_text(tmp_path: Path) -> None:
    path = _written(tmp_path, '{"user": 5, "train": [7, "x", 7], "valid": [1]}\n\n{"user": "b", "train": []}\n')
    logs = read_logs(path)
    assert logs == [UserLog("5", ("7", "x", "7"), ("1",)), UserLog("b", ())]
    assert interaction_counts(logs, "users") == {"5": 3, "b": 0}
    assert interaction_counts(logs, "items") == {"7": 2, "x": 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no lines"),
        ('{"user": 1, "train": []}\n{"train": [7', "line 2: not JSON"),
        ("[" * 100_000, "line 1: not JSON"),
        ("[1]", "line 1: must be a JSON object; given [1]"),
        ('{"train": []}', "line 1: the field 'user' is missing"),
        ('{"user": 1}', "line 1: the field 'train' is missing"),
        ('{"user": true, "train": []}', "line 1, user: must be an id, an integer or text; given True"),
        ('{"user": "", "train": []}', "line 1, user: must be an id"),
        ('{"user": 1, "train": "7"}', "line 1, train: must be a list of item ids; given '7'"),
        ('{"user": 1, "train": [1.5]}', "line 1, train: must be an id, an integer or text; given 1.5"),
        ('{"user": 1, "train": []}\n{"user": "1", "train": []}', "line 2: user '1' stands in the file twice, first at"),
    ],
)
def test_bad_interactions(tmp_path: Path, text: str, says: str) -> None:
    path = _written(tmp_path, text)
    with pytest.raises(GroupingError) as error:
        read_logs(path)
    assert str(error.value).startswith(str(path))
    assert says in str(error.value)


def test_attributes_are_texts_numbers_and_lists(tmp_path: Path) -> None:
    line = {"entity": 3, "brand": "Hearth", "price": 7, "new": True, "tags": ["a", "b"], "size": None, "note": ""}
    assert read_attributes(_written(tmp_path, json.dumps(line))) == {
        "3": {"brand": "Hearth", "price": 7.0, "new": "yes", "tags": ("a", "b")}
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"brand": "x"}', "line 1: the field 'entity' is missing"),
        ('{"entity": 1}\n{"entity": "1"}', "line 2: entity '1' stands in the file twice"),
        ('{"entity": 1, "size": {"w": 2}}', "line 1, size: must be text, a finite number"),
        ('{"entity": 1, "size": NaN}', "line 1, size: must be text, a finite number"),
        ('{"entity": 1, "size": [1]}', "line 1, size: must be text, a finite number"),
    ],
)
def test_bad_attributes(tmp_path: Path, text: str, says: str) -> None:
    path = _written(tmp_path, text)
    with pytest.raises(GroupingError) as error:
        read_attributes(path)
    assert str(error.value).startswith(str(path))
    assert says in str(error.value)


def test_texts(tmp_path: Path) -> None:
    path = _written(tmp_path, '{"entity": 1, "text": "a b", "tokens": 2}\n{"entity": 2, "error": "too long"}')
    assert read_texts(path) == {"1": "a b"}
    with pytest.raises(GroupingError, match="line 1, text: must be text; given None"):
        read_texts(_written(tmp_path, '{"entity": 1}'))
    with pytest.raises(GroupingError, match="line 2: entity '1' stands in the file twice"):
        read_texts(_written(tmp_path, '{"entity": 1, "text": ""}\n{"entity": 1, "text": ""}'))
    with pytest.raises(GroupingError, match="holds no texts"):
        read_texts(_written(tmp_path, '{"entity": 1, "error": "x"}'))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(GroupingError, match=r"none: cannot be read: No such file"):
        read_logs(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe{}")
    with pytest.raises(GroupingError, match="cannot be read: not UTF-8"):
        read_attributes(tmp_path / "binary")


def test_a_groups_file_is_plain_json_with_its_provenance_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "groups.json"
    groups = {"u1": "near 0", "ü2": "global", "u3": "near 0"}
    write_groups(path, groups, {"seed": 4})
    assert json.loads(path.read_text(encoding="utf-8")) == groups
    assert read_groups(path) == groups
    about = json.loads(provenance_path(path).read_text(encoding="utf-8"))
    assert about["version"] == 1
    assert about["groups"] == {"near 0": 2, "global": 1}
    assert about["made"] == {"seed": 4}
    assert sorted(each.name for each in tmp_path.iterdir()) == ["groups.about.json", "groups.json"]


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "groups.json"
    write_groups(path, {"a": "x"}, {})
    provenance_path(path).unlink()
    provenance_path(path).mkdir()  # the disk refuses the second file
    with pytest.raises(GroupingError, match=r"groups\.json: cannot be written: Is a directory"):
        write_groups(path, {"a": "y"}, {})
    assert read_groups(path) == {"a": "x"}
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "line 1: not JSON"),
        ("[]", "must hold one JSON object of groups by entity, with at least one"),
        ('{"a": 1}', "'a': must be a group's name; given 1"),
        ('{"a": "x", "a": "y"}', "entity 'a' stands in the file twice"),
    ],
)
def test_bad_groups(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(GroupingError, match=says):
        read_groups(_written(tmp_path, text))
