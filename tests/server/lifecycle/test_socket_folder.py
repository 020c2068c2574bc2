"""Socket folders: whose front lives keeps its own, and what killed fronts left is cleared away."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sidebeam.server.lifecycle.socket_folder import PREFIX, socket_folder

FRONT = """
import sys
from sidebeam.server.lifecycle.socket_folder import socket_folder
with socket_folder() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def root(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where socket folders are made; its path is short enough for sockets."""
    folder = tmp_path_factory.mktemp("s")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


def front() -> tuple[subprocess.Popen[str], Path]:
    """Another process with a folder of its own."""
    process = subprocess.Popen([sys.executable, "-c", FRONT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str]) -> None:
    """Kill it, and let nothing of it stay open here."""
    process.kill()
    process.communicate()


def test_a_killed_fronts_folder_is_cleared_away_and_a_living_ones_is_not() -> None:
    killed, left = front()
    living, kept = front()
    try:
        end(killed)
        assert left.exists()
        with socket_folder() as folder:
            assert not left.exists()
            assert kept.exists()
            assert folder not in (left, kept)
    finally:
        end(living)


def test_a_folder_without_a_lock_is_left_alone_while_it_is_new(root: Path) -> None:
    new, old, other = (root / f"{PREFIX}{name}" for name in ("new", "old", "file"))
    new.mkdir()
    old.mkdir()
    other.write_text("not ours")
    before = time.time() - 3600
    os.utime(old, (before, before))
    with socket_folder():
        assert new.exists()
        assert not old.exists()
        assert other.exists()
