"""Where a fault happens: a sidecar with what it takes to hurt it, and nothing of it left at the end."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from sidebeam.command.sidecar import Sidecar
from sidebeam.resilience.log_pipe import LogPipe
from sidebeam.resilience.process import Process, workers
from sidebeam.resilience.small_folder import SmallFolder


class Scene:
    """A sidecar within the `with` block. `log` is where it logs, `folder` where its workers' sockets are, if given."""

    def __init__(
        self,
        bundle: Path,
        options: Sequence[str],
        log: LogPipe | None = None,
        folder: SmallFolder | None = None,
    ) -> None:
        self.log = log
        self.folder = folder
        self.left_behind = 0  # processes that a sidecar's end has left
        self.bad_ends = 0  # sidecars that were asked to end and had another exit code than 0
        self._bundle = bundle
        self._options = options
        self._running = ExitStack()
        self.sidecar: Sidecar

    def __enter__(self) -> Scene:
        self._start("127.0.0.1:0")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def front(self) -> int:
        """The front's process number."""
        return self.sidecar.process.pid

    def worker(self, name: str) -> Process:
        """Raises LookupError if it has no process now."""
        found = workers(self.front)
        if name not in found:
            raise LookupError(
                f"the sidecar has no {name} worker at present; it has {', '.join(sorted(found)) or 'none'}"
            )
        return found[name]

    def signal(self, name: str, number: signal.Signals) -> Process:
        """Send that worker a signal. Raises LookupError."""
        process = self.worker(name)
        os.kill(process.pid, number)
        return process

    def restart(self) -> None:
        """End the sidecar as its host would, by SIGTERM, and start another one at its address."""
        self.stop()
        self._start(self.sidecar.address)

    def stop(self) -> None:
        """End the sidecar, if it runs; workers that are stopped could not end by themselves."""
        family = list(workers(self.front).values()) if self.sidecar.process.poll() is None else []
        for process in family:
            try:
                if process.is_stopped:
                    os.kill(process.pid, signal.SIGCONT)
            except OSError:
                pass  # it has ended
        self._running.close()
        self.bad_ends += bool(family) and self.sidecar.process.returncode != 0
        self.left_behind += sum(process.is_alive for process in family)

    def _start(self, listen: str) -> None:
        self.sidecar = self._running.enter_context(
            Sidecar.of(
                self._bundle,
                *self._options,
                listen=listen,
                inside=() if self.folder is None else self.folder.inside,
                environment=None if self.folder is None else {"TMPDIR": str(self.folder.path)},
                log_to=None if self.log is None else self.log.writing,
            )
        )
