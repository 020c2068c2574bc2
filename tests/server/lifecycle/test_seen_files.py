"""Whether a file has changed is told by its content, and a file that nobody touched is not read again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sidebeam.server.lifecycle.seen_files import SeenFiles


def test_content_counts_whatever_the_times_say(tmp_path):
    file = tmp_path / "a"
    file.write_text("one")
    seen = SeenFiles([file])
    assert not seen.have_changed()
    os.utime(file)
    assert not seen.have_changed()
    before = file.stat()
    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert seen.have_changed()
    assert not seen.have_changed()


def test_a_link_that_is_swapped_is_a_change(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "items").write_text(name)
        os.utime(tmp_path / name / "items", (1000, 1000))
    link = tmp_path / "data"
    link.symlink_to("one")
    seen = SeenFiles([link / "items"])
    (tmp_path / "new").symlink_to("two")
    os.replace(tmp_path / "new", link)
    assert seen.have_changed()


def test_a_file_that_goes_and_comes_is_a_change_each_time(tmp_path):
    file = tmp_path / "a"
    seen = SeenFiles([file])
    assert not seen.have_changed()
    file.write_text("")
    assert seen.have_changed()
    file.unlink()
    assert seen.have_changed()
    assert not seen.have_changed()


def test_a_file_that_was_not_touched_for_long_is_not_read_again(tmp_path, monkeypatch):
    file = tmp_path / "a"
    file.write_text("one")
    monkeypatch.setattr("sidebeam.server.lifecycle.seen_files.SETTLED_S", 0.0)
    seen = SeenFiles([file])
    opened = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *rest: (opened.append(self), real(self, *rest))[1])
    assert not seen.have_changed()
    assert opened == []
    os.utime(file)
    assert not seen.have_changed()
    assert opened == [file]


@pytest.mark.parametrize("n", [0, 2])
def test_any_of_several_files_counts(tmp_path, n):
    files = [tmp_path / str(i) for i in range(n)]
    for file in files:
        file.write_text("x")
    seen = SeenFiles(files)
    assert not seen.have_changed()
    for file in files:
        file.write_text("y")
        assert seen.have_changed()
