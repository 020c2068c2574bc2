"""A sidecar for a demo or a benchmark: `sidebeam serve` as a child that ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

START_S, STOP_S = 180.0, 15.0  # how long it may take to serve, on a busy machine, and to drain


class SidecarError(Exception):
    """The sidecar did not come up; the message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """`sidebeam serve` as a child process on a free port of this host."""

    process: subprocess.Popen[str]
    address: str

    @classmethod
    @contextmanager
    def of(
        cls,
        bundle: Path,
        *options: str,
        listen: str = "127.0.0.1:0",
        inside: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        log_to: int | None = None,
    ) -> Iterator[Self]:
        """Serves for the length of a `with` block. Raises `SidecarError` where the child ends or hangs at its start.

        `inside` is a command that ends by becoming the one that follows it. `environment` is added to this process's
        own. The log goes to the file descriptor `log_to`, by default to a file that only errors are told from.
        """
        serve = [*inside, sys.executable, "-m", "sidebeam.command.main", "serve"]
        serve += ["--bundle", str(bundle), "--listen", listen, *options]
        with (
            tempfile.TemporaryFile() as log,
            # A session of its own: Ctrl-C reaches this process only, which then stops the child in order.
            subprocess.Popen(
                serve,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log if log_to is None else log_to,
                text=True,
                start_new_session=True,
                env=os.environ | dict(environment or {}),
            ) as process,
        ):
            try:
                yield cls(process, _announced(process, log))
            finally:
                _stop(process)

    def keep(self) -> None:
        """Serves until Ctrl-C. Raises `SidecarError` where the child ends by itself."""
        try:
            print(f"Serving on {self.address}; Ctrl-C stops it.", flush=True)
            self.process.wait()
        except KeyboardInterrupt:
            return
        raise SidecarError(f"the sidecar ended by itself with exit code {self.process.returncode}")


def _announced(process: subprocess.Popen[str], log: IO[bytes]) -> str:
    """The address that the child prints once it listens."""
    assert process.stdout is not None
    watchdog = threading.Timer(START_S, process.terminate)
    watchdog.start()
    try:
        for line in process.stdout:
            _, found, address = line.partition("serving on ")
            if found:
                return address.strip()
    finally:
        watchdog.cancel()
    log.seek(0)
    last = log.read().decode(errors="replace").strip().splitlines()[-5:]
    raise SidecarError("\n".join(["the sidecar did not come up; the end of its log:", *last]))


def _stop(process: subprocess.Popen[str]) -> None:
    """Lets the child drain; one that does not end in time is killed with its workers."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
