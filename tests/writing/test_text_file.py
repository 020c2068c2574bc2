"""Files of texts: one writer, whole lines, and nothing of what the disk did not take."""

from __future__ import annotations

import json
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from sidebeam.writing import WritingError
from sidebeam.writing.terms import Terms
from sidebeam.writing.text_file import TextFile, about_path

TERMS: Terms = {"bundle": "b", "prompts": "p", "max_new_tokens": 5, "verification": "exact"}
KNOWN = {"a", "b", "c", "d"}


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Files cannot grow over `size` bytes; a write that reaches it is cut short, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # Python would keep half of a module for whole
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sys.dont_write_bytecode = kept


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with two lines."""
    path = tmp_path / "texts.jsonl"
    with TextFile(path, TERMS, KNOWN, resume=False) as file:
        file.add("a", {"text": "Ähm\n", "tokens": 1})
        file.add("b", {"error": "no"})
    return path


def test_lines_are_added_to_what_is_there(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == (
        '{"entity": "a", "text": "Ähm\\n", "tokens": 1}\n{"entity": "b", "error": "no"}\n'
    )
    with TextFile(path, TERMS, KNOWN, resume=True) as file:
        assert file.done == {"a", "b"}
        file.add("c", {"text": ""})
    assert [json.loads(line)["entity"] for line in path.read_text().splitlines()] == ["a", "b", "c"]
    assert sorted(each.name for each in path.parent.iterdir()) == ["texts.about.json", "texts.jsonl"]


@pytest.mark.parametrize("torn", [b'{"entity": "c", "te', b"\0" * 50, b'{"entity": "c", "text": "x"}'])
def test_a_torn_line_is_cut_off(path: Path, torn: bytes) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    with TextFile(path, TERMS, KNOWN, resume=True) as file:
        assert file.done == {"a", "b"}
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"entity": "c", "te\n', "neither a text nor an error of an entity"),
        (b'{"entity": "c"}\n', "neither a text nor an error of an entity"),
        (b'{"entity": "a", "text": ""}\n', "entity 'a' stands there twice"),
        (b'{"entity": "z", "text": ""}\n', "entity 'z' has no prompt"),
    ],
)
def test_damage_is_named_and_left(path: Path, line: bytes, says: str) -> None:
    path.write_bytes(path.read_bytes() + line)
    before = path.read_bytes()
    with pytest.raises(WritingError, match=rf"texts\.jsonl, line 3: damaged: {says}"):
        TextFile(path, TERMS, KNOWN, resume=True)
    assert path.read_bytes() == before


def test_one_job_writes_at_a_time(path: Path) -> None:
    before = path.read_bytes()
    with TextFile(path, TERMS, KNOWN, resume=True):
        for resume in (True, False):
            with pytest.raises(WritingError, match=r"texts\.jsonl: another job is writing to it"):
                TextFile(path, TERMS, KNOWN, resume=resume)
    assert path.read_bytes() == before
    TextFile(path, TERMS, KNOWN, resume=True).__exit__(None, None, None)


def test_what_is_there_is_not_written_over(path: Path) -> None:
    with pytest.raises(WritingError, match=r"texts\.jsonl: there already; continue it with --resume, or name another"):
        TextFile(path, TERMS, KNOWN, resume=False)
    changed = {**TERMS, "max_new_tokens": 9, "verification": "relaxed", "k": 2}
    with pytest.raises(
        WritingError,
        match=r"with other options: --max-new-tokens was 5, is 9; --verification was exact, is relaxed; --k was not gi",
    ):
        TextFile(path, changed, KNOWN, resume=True)
    about_path(path).write_text("{")
    with pytest.raises(WritingError, match=r"texts\.about\.json: cannot be read: "):
        TextFile(path, TERMS, KNOWN, resume=True)
    about_path(path).write_text("{}")
    with pytest.raises(WritingError, match=r"texts\.about\.json: not the options of texts in version 1"):
        TextFile(path, TERMS, KNOWN, resume=True)
    about_path(path).unlink()
    with pytest.raises(WritingError, match=r"cannot be continued: texts\.about\.json, which tells how it was begun"):
        TextFile(path, TERMS, KNOWN, resume=True)
    assert len(path.read_text().splitlines()) == 2


def test_resume_begins_where_nothing_was_begun(tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").touch()  # all that a kill may leave
    with TextFile(tmp_path / "texts.jsonl", TERMS, KNOWN, resume=True) as file:
        file.add("a", {"text": ""})
    with TextFile(tmp_path / "texts.jsonl", TERMS, KNOWN, resume=True) as file:
        assert file.done == {"a"}


def test_an_error_before_the_first_line_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with TextFile(tmp_path / "texts.jsonl", TERMS, KNOWN, resume=False):
            assert len(list(tmp_path.iterdir())) == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())
    with pytest.raises(WritingError, match="nowhere/texts: cannot be written: No such file"):
        TextFile(tmp_path / "nowhere" / "texts", TERMS, KNOWN, resume=False)


def test_a_full_disk_leaves_whole_lines(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    for room in (0, 1, 30):
        with (
            disk_of(len(before) + room),
            pytest.raises(OSError, match=r"File too large: '.*texts\.jsonl'"),
            TextFile(path, TERMS, KNOWN, resume=True) as file,
        ):
            file.add("c", {"text": "x" * 40})
        assert path.read_bytes() == before
    with TextFile(path, TERMS, KNOWN, resume=True) as file:
        with disk_of(len(before) + 50), pytest.raises(OSError, match="File too large"):
            file.add("c", {"text": "x" * 40})
        file.add("c", {"text": "y"})  # there is room again
    assert json.loads(path.read_bytes()[len(before) :]) == {"entity": "c", "text": "y"}
    with disk_of(20), pytest.raises(OSError, match="File too large"):
        TextFile(tmp_path / "other.jsonl", TERMS, KNOWN, resume=False)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["texts.about.json", "texts.jsonl"]


def test_an_interrupt_during_a_write_keeps_what_is_whole(path: Path) -> None:
    """The signal comes while the line is on its way: the line is there or it is not, and never a part of it."""
    before, kept = path.read_bytes(), []
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for delay in [*np.linspace(1e-5, 6e-4, 60), *np.geomspace(6e-4, 0.1, 20)]:  # a busy machine takes longer
            with suppress(KeyboardInterrupt), TextFile(path, TERMS, KNOWN, resume=True) as file:
                signal.setitimer(signal.ITIMER_REAL, float(delay))
                file.add("c", {"text": "x" * 200_000})
                signal.setitimer(signal.ITIMER_REAL, 0)
            whole = path.read_bytes()[len(before) :]
            assert whole == b"" or json.loads(whole)["entity"] == "c"
            kept.append(bool(whole))
            path.write_bytes(before)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert any(kept)
