"""One stream for the lines of several processes, for which no process waits."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from sidebeam.logs.log_writer import MOST_WAITING

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


# Logs more than a pipe and the process's memory hold while nobody reads, then, asked to, one line more.
STUCK = """
import structlog, sys
from sidebeam.logs import configure
configure("json", "info", "p")
for number in range(int(sys.argv[1])):
    structlog.get_logger().info("line", number=number, text="x" * 200)
print("done", flush=True)
sys.stdin.readline()
structlog.get_logger().info("after")
"""


def stuck(lines: int, stderr: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", STUCK, str(lines)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def test_a_stream_that_nobody_reads_stops_no_process_and_what_was_dropped_is_told() -> None:
    lines = MOST_WAITING + 3000
    read, write = os.pipe()
    with stuck(lines, write) as writer, os.fdopen(read) as stream:
        os.close(write)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "done\n"  # and nobody has read a line so far
        told = []
        while not told or told[-1]["event"] == "line":
            told.append(json.loads(stream.readline()))
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
        told += [json.loads(line) for line in stream]
        assert writer.wait(60) == 0
    written = [line["number"] for line in told if line["event"] == "line"]
    assert written == list(range(len(written)))
    dropped = [line["lines"] for line in told if line["event"] == "log_lines_dropped"]
    assert MOST_WAITING < len(written) < lines
    assert len(written) + sum(dropped) == lines
    assert told[-1]["event"] == "after"


def test_a_stream_that_nobody_reads_holds_no_process_back_that_ends() -> None:
    read, write = os.pipe()
    with stuck(2000, write) as writer:
        os.close(write)
        assert writer.communicate("\n", timeout=60) == ("done\n", None)
        assert writer.returncode == 0
    os.close(read)


def test_a_full_disk_stops_no_process() -> None:
    with open("/dev/full", "wb") as full, stuck(100, full.fileno()) as writer:
        assert writer.communicate("\n", timeout=60) == ("done\n", None)
        assert writer.returncode == 0
