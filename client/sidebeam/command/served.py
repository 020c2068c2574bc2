"""A sidecar for a benchmark: `sidebeam serve` in processes of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READY_S = 180.0
STOP_S = 30.0


@contextmanager
def serving(bundle: Path) -> Iterator[str]:
    """Serve `bundle` on a free port for the length of the block. Yields the address; raises ValueError if it fails."""
    command = [sys.executable, "-m", "sidebeam.command.main", "serve", "--bundle", str(bundle)]
    server = subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0", "--log-level", "warning"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().rpartition(" ")[2].strip()
        if not address:
            raise ValueError("the server did not start; its own messages say why")
        yield address
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(STOP_S)
