"""A load test of a real `sidebeam serve`, with its real workers, on a tiny bundle."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sidebeam.client import Client
from sidebeam.command.main import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_sweep_of_a_real_sidecar(tiny_bundle: Path, tmp_path: Path) -> None:
    users, mix, out = tmp_path / "users.jsonl", tmp_path / "mix.jsonl", tmp_path / "report"
    users.write_text("\n".join(json.dumps({"user": i, "train": [f"i{i}", f"i{i + 1}"]}) for i in range(50)))
    lines = [
        {"weight": 3, "name": "plain", "request": {"top_k": 5}},
        {"name": "excluding", "request": {"top_k": 5, "excluded_item_ids": ["i3", "i4"]}},
        {"name": "drawn", "request": {"top_k": 3, "verification": "VERIFICATION_RELAXED", "sampling": {"seed": 1}}},
        {"name": "final only", "request": {"history": {"item_ids": ["i9"]}, "final_only": True}},
    ]
    mix.write_text("\n".join(map(json.dumps, lines)))
    serve = [sys.executable, "-m", "sidebeam.command.main", "serve", "--bundle", str(tiny_bundle)]
    command = [*serve, "--listen", "127.0.0.1:0", "--log-level", "warning"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            address = server.stdout.readline().rpartition(" ")[2].strip()
            with Client(address) as client:
                client.wait_until_ready(120)
            load = ["load", "--address", address, "--mix", str(mix), "--interactions", str(users)]
            load += ["--timeout-ms", "30000"]
            arguments = ["--sweep", "5,10", "--duration-s", "4", "--warm-up-s", "1", "--slo-ms", "30000"]
            assert main([*load, *arguments, "--fail-if", "errors>0", "--report", str(out)]) == 0
            mix.write_text(json.dumps({"request": {"history": {"item_ids": ["nobody knows"]}}}))
            assert main([*load, "--rate", "1"]) == 2
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    content = json.loads((out / "load.json").read_text())
    assert [step["rate"] for step in content["steps"]] == [5.0, 10.0]
    for step in content["steps"]:
        assert step["answered"] == step["arrivals"] > 0
        assert {group["name"] for group in step["groups"]} == {line["name"] for line in lines}
        assert 0 < step["latency"]["first_beams"]["count"] < step["answered"]
        assert 0 < step["server_stages"]["pass"]["p50_ms"] < step["server_stages"]["total"]["p50_ms"]
        assert step["server_stages"]["total"]["p50_ms"] < step["latency"]["answer"]["p50_ms"]
    assert content["knee"]["rate"] == 10.0
