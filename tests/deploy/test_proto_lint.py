"""The protos keep buf's rules, comments included."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROTOS = Path(__file__).parents[2] / "protos"
LINT = {
    "version": "v2",
    "lint": {
        "use": ["STANDARD", "COMMENTS"],
        # Both kinds of worker describe themselves with one pair of messages: the front judges them alike.
        "ignore_only": {"RPC_REQUEST_RESPONSE_UNIQUE": ["sidebeam/worker"]},
    },
}


def buf(*arguments: str, folder: Path = PROTOS) -> tuple[int, str]:
    command = [Path(sys.executable).with_name("buf"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_buf_lint_finds_nothing():
    assert buf("lint", "--config", json.dumps(LINT)) == (0, "")


def test_buf_lint_would_find_something(tmp_path):
    (tmp_path / "bad.proto").write_text('syntax = "proto3";\npackage Bad;\nmessage lower {}\n')
    code, said = buf("lint", "--config", json.dumps(LINT), folder=tmp_path)
    assert code != 0
    assert "PascalCase" in said
