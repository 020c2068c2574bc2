"""The faults: what is done to a sidecar, and what it must bear without a word to its callers."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sidebeam.resilience.scene import Scene
from sidebeam.resilience.status_watch import StatusWatch, restarts
from sidebeam.v1 import status_pb2 as pb

STUCK_S = 4.0  # for so long nobody reads the log
FAIL_S = 300.0  # for a worker that finds no room to have tried

Strike = Callable[[Scene, StatusWatch], Awaitable[float]]
"""Does it. Returns when the sidecar could begin to recover, by `time.perf_counter`."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`worker` is the one that must come back, "" for none. One that is `harmless` may cost no answer."""

    name: str
    told: str
    replicas: int
    worker: str
    harmless: bool
    strike: Strike
    needs_log_pipe: bool = False
    needs_small_folder: bool = False
    ends_front: bool = False


def _signalled(worker: str, number: signal.Signals) -> Strike:
    async def strike(scene: Scene, status: StatusWatch) -> float:
        scene.signal(worker, number)
        return time.perf_counter()

    return strike


async def _drain(scene: Scene, status: StatusWatch) -> float:
    struck = time.perf_counter()
    await asyncio.to_thread(scene.restart)
    return struck


async def _fill_folder(scene: Scene, status: StatusWatch) -> float:
    """A worker is killed in a folder that is full, and its successor finds no room for a socket."""
    assert scene.folder is not None
    before = restarts(await status.now(), "target-0")
    victim = scene.worker("target-0")
    socket = _socket(victim.arguments)
    folder, front = scene.folder, scene.front

    def has_failed(now: pb.GetStatusResponse) -> bool:
        folder.drop(front, socket)
        folder.fill(front)  # again: what the victim had is given back only when the last of its threads has ended
        return restarts(now, "target-0") >= before + 2

    folder.fill(front)
    try:
        scene.signal("target-0", signal.SIGKILL)
        await status.until(has_failed, FAIL_S)
    finally:
        folder.free(front)
    return time.perf_counter()


async def _stick_log(scene: Scene, status: StatusWatch) -> float:
    assert scene.log is not None
    with scene.log.stuck():
        await asyncio.sleep(STUCK_S)
    return time.perf_counter()


def _socket(arguments: list[str]) -> str:
    return arguments[arguments.index("--listen") + 1].removeprefix("unix:")


KILL, STOP = signal.SIGKILL, signal.SIGSTOP

FAULTS = {
    fault.name: fault
    for fault in (
        Fault("kill-draft", "SIGKILL of the draft worker", 1, "draft", True, _signalled("draft", KILL)),
        Fault("stop-draft", "SIGSTOP of the draft worker", 1, "draft", True, _signalled("draft", STOP)),
        Fault("kill-target", "SIGKILL of one target worker of two", 2, "target-1", False, _signalled("target-1", KILL)),
        Fault("stop-target", "SIGSTOP of one target worker of two", 2, "target-1", False, _signalled("target-1", STOP)),
        Fault("kill-only-target", "SIGKILL of the only target", 1, "target-0", False, _signalled("target-0", KILL)),
        Fault("stop-only-target", "SIGSTOP of the only target", 1, "target-0", False, _signalled("target-0", STOP)),
        Fault("drain", "SIGTERM of the front, then another one; no retries", 1, "", False, _drain, ends_front=True),
        Fault(
            "full-sockets",
            "a full socket folder, one target of two killed",
            2,
            "target-0",
            False,
            _fill_folder,
            needs_small_folder=True,
        ),
        Fault("stuck-log", "a log that nobody reads for a while", 1, "", True, _stick_log, needs_log_pipe=True),
    )
}
