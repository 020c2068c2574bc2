"""Workers on another host, which have a bundle and a file system of their own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys

import pytest

from sidebeam.v1 import recommendation_pb2 as pb

START_S = 120
HISTORY = pb.ItemHistory(item_ids=["i3", "i17", "i40", "i5"])

ELSEWHERE = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"']
"""Before a folder and a command: the command finds the folder empty."""


def is_possible(folder):
    return subprocess.run([*ELSEWHERE, str(folder), "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture
def remote(tiny_bundle, tmp_path):
    """A target that does not see the cache where fronts compile; its bundle, and its address."""
    cache = tmp_path / "cache"
    cache.mkdir()
    if shutil.which("unshare") is None or not is_possible(cache):
        pytest.skip("needs a mount namespace: root on Linux")
    bundle = tmp_path / "remote"
    shutil.copytree(tiny_bundle, bundle)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [sys.executable, "-m", "sidebeam.workers.target", "--bundle", str(bundle), "--threads", "1"]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    process = subprocess.Popen(
        [*ELSEWHERE, str(cache), *command, "--listen", address], env=environment, stderr=subprocess.DEVNULL
    )
    yield bundle, address, cache
    process.kill()
    process.wait()


@pytest.mark.slow
def test_a_remote_worker_makes_do_with_its_own_items_or_refuses(
    remote, tiny_bundle, change, tmp_path, wait_until, monkeypatch
):
    bundle, address, cache = remote
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    settings = {"target__addresses": address, "server__reload_interval_s": 0.5}
    with change(tiny_bundle, tmp_path, "--draft", "off", **settings) as one:
        before = one.caller.final(history=HISTORY)
        items = dict(list(one.sids.items())[:50])
        one.put(json.dumps(items))  # and not asked for: who asks is told of a refusal that the log has already
        wait_until(lambda: one.sidecar.events("catalog_not_reloaded"), START_S)
        line = one.sidecar.events("catalog_not_reloaded")[0]
        assert line["reason"].startswith("worker target-0 does not take version ")
        assert f"{cache}/sidebeam/catalogs/" in line["reason"]
        assert (
            f"is not here; the items of this worker's own bundle are of version {before.catalog_version}"
            in line["reason"]
        )
        assert one.caller.final(history=HISTORY).catalog_version == before.catalog_version
        shutil.copy(one.bundle / "items.json", bundle / "new.json")  # as a volume that both share comes to its host
        (bundle / "new.json").replace(bundle / "items.json")  # in one step: a half file would be refused, too
        wait_until(lambda: one.sidecar.events("catalog_reloaded"), START_S)
        after = one.caller.final(history=HISTORY)
        assert after.catalog_version == one.sidecar.events("catalog_reloaded")[0]["version"] != before.catalog_version
        assert {item.item_id for item in after.items} <= set(items)
        assert len(one.sidecar.events("catalog_not_reloaded")) == 1
