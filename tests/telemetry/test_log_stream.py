"""Several processes write to one stream: their lines must not run into each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys

PROCESSES, LINES = 4, 300
SCRIPT = f"""
import structlog, sys
from sidebeam.logs import configure
configure("json", "info", sys.argv[1])
for number in range({LINES}):
    structlog.get_logger().info("line", number=number, text="x" * 200)
"""


def test_lines_of_several_unbuffered_processes_stay_whole() -> None:
    """Unbuffered, as containers run Python."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    read, write = os.pipe()
    writers = [
        subprocess.Popen([sys.executable, "-c", SCRIPT, f"p{n}"], stderr=write, env=environment)
        for n in range(PROCESSES)
    ]
    os.close(write)
    with os.fdopen(read) as stream:
        lines = [json.loads(line) for line in stream]
    assert [writer.wait(60) for writer in writers] == [0] * PROCESSES
    assert {(line["process"], line["number"]) for line in lines} == {
        (f"p{n}", number) for n in range(PROCESSES) for number in range(LINES)
    }
