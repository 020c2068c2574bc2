"""The client tests' wire peer, for commands that talk to a sidecar."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidebeam.resilience.process import Process

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


@pytest.fixture
def sidecars() -> Callable[[], list[Process]]:
    """Tells which sidecars this process has; other tests may have one, too."""
    return lambda: [each for each in Process.of(os.getpid()).children() if "serve" in each.arguments]
