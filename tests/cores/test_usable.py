"""The kernel's files, as containers of several kinds see them, and the real affinity of a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sidebeam.cores import target_threads, usable_cores

AFFINITY = len(os.sched_getaffinity(0))
ONE = 100_000  # a period, which as a quota is one core
PLENTY = f"{1000 * ONE} {ONE}\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def v1(folder: str, quota: int) -> dict[str, str]:
    return {f"sys/fs/cgroup/cpu{folder}/cpu.cfs_quota_us": f"{quota}\n",
            f"sys/fs/cgroup/cpu{folder}/cpu.cfs_period_us": f"{ONE}\n"}  # fmt: skip


def v2(folder: str, text: str) -> dict[str, str]:
    return {f"sys/fs/cgroup{folder}/cpu.max": text}


POD = {"proc/self/cgroup": "0::/pod/one\n"}
DOCKER = {"proc/self/cgroup": "5:cpu,cpuacct:/docker/1f\n4:memory:/docker/1f\n"}


@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/cgroup": "0::/\n"} | v2("", f"{ONE} {ONE}\n"),
        POD | v2("/pod/one", f"{ONE + ONE // 2} {ONE}\n") | v2("/pod", "max 100000\n"),  # one core and a half
        POD | v2("/pod/one", PLENTY) | v2("/pod", f"{ONE} {ONE}\n"),  # the cgroup above has less
        POD | v2("/pod/one", f"{ONE // 4} {ONE}\n"),  # a quarter of a core is still one thread
        DOCKER | v1("", ONE),  # the container's own cgroup is the mount
        DOCKER | v1("/docker/1f", ONE) | v1("/docker", -1) | v1("", -1),
    ],
    ids=["container", "one and a half", "above", "quarter", "v1 mount", "v1 path"],
)
def test_a_quota_counts(tmp_path, files):
    assert usable_cores(write(tmp_path, files)) == 1


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/self/cgroup": "nonsense\n"},
        POD | v2("/pod/one", "max 100000\n") | v2("/pod", PLENTY),
        POD | v2("/pod/one", "nonsense"),
        POD | v2("/pod/one", f"{ONE} 0\n"),
        DOCKER | v1("/docker/1f", -1),
        {"proc/self/cgroup": "4:cpuacct:/\n"} | v1("", ONE),  # this process is not below that quota
    ],
    ids=["no files", "no cgroup", "max", "nonsense", "no period", "v1 none", "another controller"],
)
def test_what_is_no_quota_leaves_the_affinity(tmp_path, files):
    assert usable_cores(write(tmp_path, files)) == AFFINITY


def test_a_larger_quota_is_more_cores(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    assert usable_cores(write(tmp_path, POD | v2("/pod/one", f"{25 * ONE // 10} {ONE}\n"))) == 2
    assert usable_cores(write(tmp_path, POD | v2("/pod/one", f"{7 * ONE} {ONE}\n"))) == 7


def test_a_process_that_is_bound_to_a_core_has_one():
    core = min(os.sched_getaffinity(0))
    program = f"import os; os.sched_setaffinity(0, {{{core}}}); import sidebeam.cores as c; print(c.usable_cores())"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "1\n"


@pytest.mark.parametrize(
    ("replicas", "cores", "threads"), [(1, 1, 1), (1, 2, 1), (1, 4, 3), (2, 2, 1), (2, 5, 2), (3, 8, 2), (8, 4, 1)]
)
def test_targets_share_all_cores_but_the_fronts(replicas, cores, threads):
    assert target_threads(replicas, cores) == threads
