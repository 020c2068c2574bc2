"""Where a report goes: refused early, written whole, left as it was found otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidebeam.page.folder import FolderError, ReportFolder

NAMES = ("a.json", "b.html")


def test_the_folder_is_made_with_its_parents_and_holds_the_files_alone(tmp_path: Path) -> None:
    with ReportFolder(tmp_path / "x" / "y", NAMES) as folder:
        folder.write({"a.json": "1", "b.html": "2"})
    assert {path.name: path.read_text() for path in (tmp_path / "x" / "y").iterdir()} == {"a.json": "1", "b.html": "2"}


def test_nothing_is_left_of_it_where_nothing_was_written(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), ReportFolder(tmp_path / "x" / "y", NAMES):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_report_stays_until_there_is_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("old")
    with pytest.raises(KeyboardInterrupt), ReportFolder(tmp_path, NAMES):
        raise KeyboardInterrupt
    assert (tmp_path / "a.json").read_text() == "old"
    with ReportFolder(tmp_path, NAMES) as folder:
        folder.write({"a.json": "new", "b.html": "new"})
    assert (tmp_path / "a.json").read_text() == "new"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(FolderError, match=r"--report must be a folder; given .*file, which is a file"):
        ReportFolder(file, NAMES).__enter__()
    with pytest.raises(FolderError, match=r"--report must be a folder that can be written to; given .*below"):
        ReportFolder(file / "below", NAMES).__enter__()
    assert file.read_text() == "mine"


def test_a_folder_in_a_files_place_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "b.html").mkdir()
    with pytest.raises(FolderError, match=r"room for a file b\.html"):
        ReportFolder(tmp_path, NAMES).__enter__()


def test_a_failed_write_leaves_neither_file(tmp_path: Path) -> None:
    with ReportFolder(tmp_path / "x", NAMES) as folder:
        (tmp_path / "x" / "b.html.partial").mkdir()  # what the second file would be written to
        with pytest.raises(FolderError, match="can be written to"):
            folder.write({"a.json": "1", "b.html": "2"})
    assert not (tmp_path / "x" / "a.json").exists()
    assert not (tmp_path / "x" / "a.json.partial").exists()
