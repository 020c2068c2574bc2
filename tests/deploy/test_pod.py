"""Containers as the manifests write them, run for real: a read-only root, no rights, process 1, real probes.

A mount and a process namespace stand in for the container runtime. Ports and devices are this machine's; everything
else is what the manifests and the image's recipe say.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.v1 import recommendation_pb2_grpc

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
SERVING = health_pb2.HealthCheckResponse.SERVING
UID = "65532"
DELAY_S = 10  # twice the manifests', for a machine that does other things as well
HISTORY = pb.ItemHistory(item_ids=["i3", "i17", "i40", "i5"])

# Where the container's folders are here: below a memory file system over /mnt, which any user may enter.
FOLDERS = {
    "/bundle": "/mnt/bundle",
    "/etc/sidebeam": "/mnt/config",
    "/var/cache/sidebeam": "/mnt/cache",
    "/tmp": "/mnt/tmp",
}
NAMESPACES = ["unshare", "--mount", "--pid", "--fork", "--mount-proc"]
CONTAIN = """
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/bundle /mnt/config /mnt/cache /mnt/tmp
mount --bind "$1" /mnt/bundle && mount -o remount,ro,bind /mnt/bundle
mount --bind "$2" /mnt/config && mount -o remount,ro,bind /mnt/config
mount --bind "$3" /mnt/cache
mount -t tmpfs -o mode=1777,size=16m tmpfs /mnt/tmp
mount -o remount,ro,bind /mnt
mount -o remount,ro,bind /
if touch "$4/written" 2>/dev/null; then echo "the root file system can be written" >&2; exit 99; fi
user="$5"
shift 5
exec setpriv --reuid="$user" --regid="$user" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all -- "$@"
"""


@pytest.fixture(scope="module")
def user() -> str:
    """The image's user; root without any capability where others cannot run this Python, as one below /root.

    Skips where a container cannot be imitated.
    """
    if os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root, and unshare and setpriv of util-linux")
    if subprocess.run([*NAMESPACES, "true"], capture_output=True, check=False).returncode:
        pytest.skip("new namespaces are not allowed here")
    script = "import subprocess, sys; print(sys.base_prefix); subprocess.run([sys.executable, '-c', ''], check=True)"
    as_other = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--", sys.executable, "-c", script]
    done = subprocess.run(as_other, capture_output=True, text=True, cwd="/", check=False)
    return UID if (done.returncode, done.stdout.strip()) == (0, sys.base_prefix) else "0"


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy that everybody may read, as a volume is."""
    copy = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, copy)
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


class Running:
    """One container that runs."""

    def __init__(
        self, container: Any, folder: Path, bundle: Path, user: str, arguments: list[str], **settings: object
    ) -> None:
        self.container = container
        self.cache = folder / "cache"
        self.cache.mkdir(parents=True)
        os.chown(self.cache, int(user), int(user))
        config = folder / "config"
        config.mkdir(mode=0o755)
        if container.is_front:
            container.settings(config)  # writes the file
        spec = container.spec
        environment = image_environment() | container.environment | {k: str(v) for k, v in settings.items()}
        environment |= {"PATH": os.environ["PATH"], "TMPDIR": "/tmp", "POD_NAME": "pod"}
        environment = {name: here(value) for name, value in environment.items()}
        environment["PYTHONPATH"] = os.environ.get("PYTHONPATH", "")
        program = spec.get("command", ["python", "-m", "sidebeam.command.main"])
        command = [sys.executable, *program[1:], *(each.replace("$(POD_NAME)", "pod") for each in spec["args"])]
        contained = [str(bundle), str(config), str(self.cache), str(folder), user, *map(here, command), *arguments]
        self._log = (folder / "log").open("w+")
        self.process = subprocess.Popen(
            [*NAMESPACES, "sh", "-euc", CONTAIN, "sh", *contained], env=environment, stdout=self._log, stderr=self._log
        )

    @property
    def log(self) -> str:
        return Path(self._log.name).read_text()

    def terminate(self) -> None:
        """What the kubelet does first: SIGTERM to the container's process 1."""
        (first,) = psutil.Process(self.process.pid).children()
        first.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """Whatever became of it, leave nothing behind: the namespace's processes end with its first one."""
        if self.process.poll() is None:
            for child in psutil.Process(self.process.pid).children():
                child.kill()
            self.process.kill()
        self.process.wait()
        self._log.close()


@pytest.fixture
def launch(tmp_path: Path, bundle: Path, user: str) -> Iterator[Callable[..., Running]]:
    """Starts a container, with arguments and variables after its own."""
    started: list[Running] = []

    def launch_one(container: Any, *arguments: str, **settings: object) -> Running:
        folder = tmp_path / f"container{len(started)}"
        started.append(Running(container, folder, bundle, user, list(arguments), **settings))
        return started[-1]

    yield launch_one
    for running in started:
        running.close()


def test_a_standalone_front_starts_answers_and_drains(fronts, launch):
    (front,) = (each for each in fronts if each.overlay == "standalone")
    port, metrics = free_port(), free_port()
    one = launch(
        front,
        SIDEBEAM_SERVER__LISTEN=f"127.0.0.1:{port}",
        SIDEBEAM_SERVER__DRAIN_DELAY_S=DELAY_S,
        SIDEBEAM_TELEMETRY__LISTEN=f"127.0.0.1:{metrics}",
    )
    until(lambda: probe(front, "livenessProbe", port), 30, one)  # alive, if not yet ready
    startup = front.spec["startupProbe"]
    until(lambda: probe(front, "startupProbe", port), startup["periodSeconds"] * startup["failureThreshold"], one)
    assert probe(front, "readinessProbe", port)
    assert answers(port) == 5
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=5) as page:
        assert b"\nsidebeam_queue_depth " in page.read()
    assert [path.suffix for path in (one.cache / "sidebeam" / "catalogs").iterdir()] == [".catalog"]

    stopped = time.monotonic()
    one.terminate()
    until(lambda: not probe(front, "readinessProbe", port), DELAY_S / 2, one)
    assert probe(front, "livenessProbe", port)
    assert answers(port) == 5  # callers that do not know yet are served
    assert one.process.wait(front.pod["terminationGracePeriodSeconds"]) == 0
    assert time.monotonic() - stopped >= DELAY_S
    assert re.findall(".*(?:Read-only file system|Permission denied|Traceback).*", one.log) == []


def test_a_groups_front_serves_with_a_remote_target_worker(fronts, workers, launch):
    (worker,) = workers
    (front,) = (each for each in fronts if each.overlay == worker.overlay)
    port, target_port = free_port(), free_port()
    cpu = ["--device=cpu", "--dtype=float32", '--max-memory={"cpu":"1GiB"}', "--threads=1"]
    target = launch(worker, *cpu, f"--listen=127.0.0.1:{target_port}")
    until(lambda: probe(worker, "startupProbe", target_port), 90, target)
    assert probe(worker, "readinessProbe", target_port)
    assert probe(worker, "livenessProbe", target_port)
    one = launch(
        front,
        SIDEBEAM_SERVER__LISTEN=f"127.0.0.1:{port}",
        SIDEBEAM_TELEMETRY__LISTEN=f"127.0.0.1:{free_port()}",
        SIDEBEAM_TARGET__ADDRESSES=f"127.0.0.1:{target_port}",
    )
    until(lambda: probe(front, "startupProbe", port), 90, one)
    assert answers(port) == 5
    one.terminate()
    assert one.process.wait(front.pod["terminationGracePeriodSeconds"]) == 0
    target.terminate()
    assert target.process.wait(worker.pod["terminationGracePeriodSeconds"]) == 0
    assert re.findall(".*(?:Read-only file system|Permission denied|Traceback).*", one.log + target.log) == []


def image_environment() -> dict[str, str]:
    """The variables that the image's recipe sets, without its PATH."""
    recipe = re.sub(r"\\\n\s*", "", (ROOT / "deploy" / "Dockerfile").read_text())
    runtime = recipe[recipe.index(" AS runtime") :].partition("\nFROM ")[0]
    (variables,) = re.findall(r"^ENV (.*)$", runtime, re.MULTILINE)
    return {
        name: value for name, _, value in (pair.partition("=") for pair in shlex.split(variables)) if name != "PATH"
    }


def here(text: str) -> str:
    """The same argument or value with the container's folders replaced by this machine's."""
    for inside, outside in FOLDERS.items():
        text = re.sub(rf"(?<![\w/]){re.escape(inside)}(?=/|$)", outside, text)
    return text


def probe(container: Any, name: str, port: int) -> bool:
    """Ask as the kubelet does."""
    spec = container.spec[name]
    request = health_pb2.HealthCheckRequest(service=spec["grpc"].get("service", ""))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=spec["timeoutSeconds"])
        except grpc.RpcError:
            return False
        return bool(answer.status == SERVING)


def answers(port: int) -> int:
    """How many items a request gets."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = recommendation_pb2_grpc.RecommendationServiceStub(channel)
        *_, last = stub.Recommend(pb.RecommendRequest(history=HISTORY, top_k=5), timeout=20)
        return len(last.final.items)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def until(condition: Callable[[], bool], timeout_s: float, running: Running) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert running.process.poll() is None, running.log
        assert time.monotonic() < end, running.log
        time.sleep(0.1)
