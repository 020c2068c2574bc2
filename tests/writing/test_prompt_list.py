"""Files of prompts: what is read, what is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidebeam.writing import WritingError
from sidebeam.writing.prompt_list import PromptList


def test_prompts_stay_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(
        '{"entity": "a", "prompt": "Über a?"}\n\n  {"prompt": "", "entity": 7, "group": "g", "more": 1}\r\n'
        '{"entity": "b", "group": null, "prompt": "漢\\ud800"}',
        encoding="utf-8",
    )
    with PromptList.open(path, {"a": "one", "7": "two", "x": "three"}) as prompts:
        read = [(each.entity, each.group, each.number, prompts.text(each)) for each in reversed(prompts.prompts)]
    assert read == [("b", None, 4, "漢\ud800"), ("7", "g", 3, ""), ("a", "one", 1, "Über a?")]
    assert set(prompts.entities) == {"a", "b", "7"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no prompts"),
        ("\n \n", "holds no prompts"),
        ('{"entity": "a", "prompt": "p"}\n{"entity"\n', r", line 2: not JSON: Expecting ':' delimiter: '\{\"entity\"'"),
        ("[1]", r", line 1: must be a JSON object; given \[1\]"),
        ("[" * 100_000, ", line 1: not JSON: RecursionError"),
        ('{"prompt": "p"}', ", line 1: the field 'entity' is missing"),
        ('{"entity": "", "prompt": "p"}', ", line 1, entity: must be an id, an integer or text; given ''"),
        ('{"entity": true, "prompt": "p"}', ", line 1, entity: must be an id"),
        ('{"entity": "a"}', ", line 1, prompt: must be text; given None"),
        ('{"entity": "a", "prompt": 5}', ", line 1, prompt: must be text; given 5"),
        ('{"entity": "a", "prompt": "p", "group": 5}', ", line 1, group: must be text; given 5"),
        ('{"entity": "\\ud800", "prompt": "p"}', r", line 1: '\\ud800' is not valid Unicode"),
        ('{"entity": "a", "prompt": "p", "group": "\\udfff"}', r", line 1: '\\udfff' is not valid Unicode"),
        (
            '{"entity": "7", "prompt": "p"}\n\n{"entity": 7, "prompt": "q"}\n',
            ", line 3: entity '7' stands in the file twice, first in line 1",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(content)
    with pytest.raises(WritingError, match=rf"prompts\.jsonl(: )?{says}"):
        PromptList.open(path, {})


def test_files_that_are_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(WritingError, match="nothing: cannot be read: No such file"):
        PromptList.open(tmp_path / "nothing", {})
    (tmp_path / "bytes").write_bytes(b'{"entity": "a", "prompt": "p"}\n{"entity": "\xff\xfe"}\n')
    with pytest.raises(WritingError, match="bytes, line 2: not JSON"):
        PromptList.open(tmp_path / "bytes", {})


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"entity": "a", "prompt": "p"}\n{"entity": "b", "prompt": "q"}\n')
    with PromptList.open(path, {}) as prompts:
        path.write_text('{"entity": "b", "prompt": "q"}\n{"entity": "a", "prompt": "p"}\n')
        with pytest.raises(WritingError, match=r"prompts\.jsonl, line 1: the file was changed while it was used"):
            prompts.text(prompts.prompts[0])
