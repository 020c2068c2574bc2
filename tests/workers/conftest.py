"""Worker processes by themselves, without a front."""

from __future__ import annotations

import subprocess
import sys

import grpc
import pytest

from sidebeam.worker.v1 import tree_pb2

START_S = 60


def start_worker(kind, bundle, socket, *flags):
    command = [sys.executable, "-m", f"sidebeam.workers.{kind}", "--bundle", str(bundle), "--threads", "1"]
    return subprocess.Popen(
        [*command, "--listen", f"unix:{socket}", "--log-format", "json", *flags],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture
def start():
    """Starts a worker that listens on a Unix socket; whoever starts it ends it."""
    return start_worker


@pytest.fixture
def run(tmp_path):
    """Starts a worker and opens a channel to it; both end with the test."""
    started = []

    def run_one(kind, bundle, *flags):
        process = start_worker(kind, bundle, tmp_path / kind, *flags)
        channel = grpc.insecure_channel(f"unix:{tmp_path / kind}", options=(("grpc.max_reconnect_backoff_ms", 100),))
        started.append((process, channel))
        service = f"/sidebeam.worker.v1.{kind.capitalize()}Service"
        describe = channel.unary_unary(
            f"{service}/Describe", tree_pb2.DescribeRequest.SerializeToString, tree_pb2.DescribeResponse.FromString
        )
        return process, channel, describe(tree_pb2.DescribeRequest(), wait_for_ready=True, timeout=START_S).info

    yield run_one
    for process, channel in started:
        channel.close()
        process.kill()
        process.communicate()
