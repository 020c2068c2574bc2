"""Workers that run elsewhere, over TCP: the front watches them, and starts none of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest

from sidebeam.v1 import recommendation_pb2 as pb

START_S = 60.0
HISTORY = pb.ItemHistory(item_ids=["i3", "i17", "i40", "i5"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def remote(tiny_bundle) -> Iterator[Callable[[str, int], subprocess.Popen[str]]]:
    """Starts a worker that listens on a port of this host."""
    started = []

    def start(kind: str, port: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", f"sidebeam.workers.{kind}", "--bundle", str(tiny_bundle), "--threads", "1"]
        started.append(subprocess.Popen([*command, "--listen", f"127.0.0.1:{port}"], stderr=subprocess.DEVNULL))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_remote_workers_answer_as_local_ones_and_one_may_die_and_come_back(
    remote, tiny_bundle, start, connect, caller, wait_until
):
    local = caller.final(history=HISTORY, top_k=5)
    first, second, draft = free_port(), free_port(), free_port()
    doomed = remote("target", first)
    remote("target", second)
    remote("draft", draft)
    addresses = {
        "target__addresses": f"127.0.0.1:{first},127.0.0.1:{second}",
        "draft__address": f"127.0.0.1:{draft}",
        "draft__first_wait_ms": 10_000,
    }
    with start(tiny_bundle, **addresses) as sidecar:
        wait_until(lambda: len(sidecar.events("worker_up")) == 3, START_S)
        assert not psutil.Process(sidecar.process.pid).children()
        caller = connect(sidecar)
        explicit = pb.DraftSettings(mode=pb.DRAFT_MODE_EXPLICIT, beams=8, length=3)

        def answers_alike(draft: pb.DraftSettings) -> pb.Final:
            final = caller.final(history=HISTORY, top_k=5, draft=draft)
            assert [item.item_id for item in final.items] == [item.item_id for item in local.items]
            assert [i.log_prob for i in final.items] == pytest.approx([i.log_prob for i in local.items], abs=1e-4)
            return final

        assert answers_alike(explicit).drafted > 0
        doomed.kill()
        doomed.wait()
        for _ in range(4):  # one of them meets the dead one, and is answered by the other
            answers_alike(pb.DraftSettings(mode=pb.DRAFT_MODE_OFF))
        remote("target", first)
        wait_until(lambda: len(sidecar.events("worker_up", worker="target-0")) == 2, START_S)
        answers_alike(explicit)
