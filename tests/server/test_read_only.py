"""A system on which nothing can be written, but for the folder of sockets."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest

from sidebeam.client import Client

# Makes every file system read-only but the one that is mounted at $TMPDIR, for this process and its children alone.
SEALED = """
set -e
mount --make-rprivate /
mount --bind "$TMPDIR" "$TMPDIR"
cut -d ' ' -f 5 /proc/self/mountinfo | while read -r place; do
    [ "$place" = "$TMPDIR" ] || mount -o remount,bind,ro "$place" 2>/dev/null || true
done
for place in /tmp /var "$HOME" "$(dirname "$TMPDIR")"; do
    if touch "$place/written" 2>/dev/null; then exit 9; fi
done
cd /
exec "$@"
"""
NAMES = {"lock", "target-0.sock", "target-0.sock.line", "draft.sock"}
UNSHARE = ("unshare", "--mount", *(() if os.getuid() == 0 else ("--user", "--map-root-user")))


def sealed(tmpdir, *command):
    environment = os.environ | {"TMPDIR": str(tmpdir), "HOME": "/", "OMP_NUM_THREADS": "1"}
    environment.pop("XDG_CACHE_HOME", None)
    return [*UNSHARE, "sh", "-c", SEALED, "sealed", *command], environment


@pytest.fixture
def tmpdir(tmp_path):
    command, environment = sealed(tmp_path, "true")
    if shutil.which("unshare") is None or subprocess.run(command, env=environment, check=False).returncode:
        pytest.skip("this user may not make a read-only system")
    return tmp_path


def test_sealed(tmpdir, tiny_bundle):  # a short name, which is part of the folder's: sockets' paths are short
    """Nothing is written but sockets, and what the user's cache cannot take; all is gone at the end."""
    serve = [sys.executable, "-m", "sidebeam.command.main", "serve", "--bundle", str(tiny_bundle)]
    command, environment = sealed(tmpdir, *serve, "--listen", "127.0.0.1:0", "--log-level", "warning")
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().rpartition(" ")[2].strip()
            with Client(address, timeout_s=20) as client:
                assert len(client.recommend(history=["i3", "i17"]).items) == 5
            (folder,) = tmpdir.iterdir()
            assert {file.name for file in folder.iterdir() if file.suffix != ".catalog"} <= NAMES
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert list(tmpdir.iterdir()) == []
