"""Local workers: started, watched, started again, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from sidebeam.server.config.config import SupervisionConfig
from sidebeam.server.fleet.worker_link import WorkerLink
from sidebeam.server.lifecycle.background import GiveUp

UNFIT = 2  # a worker's exit code for a bundle, model or flag that does not fit: starting again cannot help
REMIND_S = 5.0  # between two log lines about a worker that is not ready yet


class LocalWorker:
    """One worker process and its successors, each with the `arguments` of its time.

    A worker that is `needed` and never comes up is given up.
    """

    def __init__(
        self,
        module: str,
        arguments: Callable[[], Sequence[str]],
        threads: int,
        link: WorkerLink,
        config: SupervisionConfig,
        needed: bool,
        give_up: GiveUp,
    ) -> None:
        self.link = link
        self._command = [sys.executable, "-m", module, "--listen", link.address, "--name", link.name]
        self._arguments = arguments
        # What a child's libraries read when they load, before the worker's own code runs.
        self._environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
        self._config = config
        self._needed = needed
        self._give_up = give_up
        self._process: asyncio.subprocess.Process | None = None
        self._log = structlog.get_logger().bind(worker=link.name)

    async def run(self) -> None:
        """Keep the worker running until cancelled."""
        failures = 0
        while True:
            seen, started = self.link.times_up, time.monotonic()
            code = await self._live()
            self.link.exits += code is not None
            if self.link.times_up == 0 and self._is_hopeless(code, failures + 1):
                return
            stable = self.link.times_up > seen and time.monotonic() - started >= self._config.stable_after_s
            failures = 0 if stable else failures + 1
            delay = min(self._config.restart_most_s, self._config.restart_first_s * 2 ** min(failures, 32))
            if code is not None:
                self._log.error("worker_exited", code=code, restart_in_s=delay)
            await asyncio.sleep(delay)

    def kill(self) -> None:
        """End the process at once, with all that it started."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """End the process, kindly at first; to be called after `run` was cancelled."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self._config.stop_grace_s):
                await process.wait()
        except TimeoutError:
            self._log.warning("worker_killed", after_s=self._config.stop_grace_s)
            self.kill()
            await process.wait()

    async def _live(self) -> int | None:
        """Start the process and wait for its end. Returns its exit code; None if there could be no process."""
        try:
            process = await self._start()
        except OSError as error:  # no memory, process or file left for it, or no interpreter: some of it may pass
            self._log.error("worker_not_started", reason=str(error))
            return None
        started, reminded = time.monotonic(), REMIND_S
        exited = asyncio.ensure_future(process.wait())
        try:
            while not exited.done():
                await asyncio.wait((exited,), timeout=REMIND_S)
                waited = time.monotonic() - started
                if not exited.done() and not self.link.is_ready and waited >= reminded:
                    reminded = waited + REMIND_S
                    self._log.info("waiting_for_worker", waited_s=round(waited))
            self.link.lose(self.link.info)
            return exited.result()
        finally:
            exited.cancel()

    async def _start(self) -> asyncio.subprocess.Process:
        """Raises OSError."""
        # The child reads standard input only to notice that this process has died. What it prints goes to stderr:
        # stdout is the front's, for scripts.
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            *self._arguments(),
            stdin=asyncio.subprocess.PIPE,
            stdout=sys.stderr.fileno(),
            start_new_session=True,
            env=self._environment,
        )
        return self._process

    def _is_hopeless(self, code: int | None, attempts: int) -> bool:
        """Whether a worker that was never ready is given up."""
        name = self.link.name
        if code == UNFIT:
            self._give_up(f"the {name} worker cannot run this bundle; its own line above says why", UNFIT)
            return True
        if self._needed and attempts >= self._config.start_attempts:
            how = "without a process; the log says why" if code is None else f"with code {code}"
            self._give_up(f"the {name} worker ended {attempts} times before it was ready, last {how}", 1)
            return True
        return False
