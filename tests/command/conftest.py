"""The client tests' wire peer, for commands that talk to a sidecar."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PEER = Path(__file__).parents[1] / "client" / "peer.py"


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Where a peer listens; it ends with the session, or with this process."""
    with subprocess.Popen(
        [sys.executable, str(PEER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as peer:
        assert peer.stdout is not None
        yield f"127.0.0.1:{peer.stdout.readline().strip()}"
        peer.communicate(timeout=10)
        assert peer.returncode == 0
