"""`sidebeam status` and the service behind it, on a real sidecar."""

from __future__ import annotations

import json

import grpc
import pytest

from sidebeam.command.main import main
from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.v1 import status_pb2, status_pb2_grpc

EXPLICIT = pb.DraftSettings(mode=pb.DRAFT_MODE_EXPLICIT, beams=8, length=3)


def history(*ids):
    return pb.ItemHistory(item_ids=ids or ("i3", "i17"))


def ask(address):
    with grpc.insecure_channel(address) as channel:
        return status_pb2_grpc.StatusServiceStub(channel).GetStatus(status_pb2.GetStatusRequest(), timeout=5)


def test_status_counts_what_was_answered(sidecar, caller):
    before = ask(sidecar.address)
    finals = [caller.final(history=history(f"i{n}"), draft=EXPLICIT) for n in range(4)]
    caller.error(history=history("nobody"))
    after = ask(sidecar.address)

    def more(code):
        return after.load.requests_by_code[code] - before.load.requests_by_code.get(code, 0)

    assert (more("OK"), more("INVALID_ARGUMENT")) == (4, 1)
    assert after.drafts.answers - before.drafts.answers == 4
    assert after.drafts.passes - before.drafts.passes == sum(final.passes for final in finals)
    for name in ("drafted", "accepted"):
        counted = sum(getattr(after.drafts, f"{name}_by_depth")) - sum(getattr(before.drafts, f"{name}_by_depth"))
        assert counted == sum(getattr(final, name) for final in finals)
    assert sum(final.drafted for final in finals) > 0
    assert len(after.drafts.drafted_by_depth) == 3
    assert 0 < after.load.p50_ms <= after.load.p99_ms


def test_status_knows_the_workers(sidecar):
    status = ask(sidecar.address)
    assert status.state == status_pb2.SERVING_STATE_SERVING
    assert (status.catalog.items, status.catalog.scoring) == (60, "raw")
    target, draft = status.workers
    assert (target.name, target.kind) == ("target-0", status_pb2.WORKER_KIND_TARGET)
    assert (draft.name, draft.kind) == ("draft", status_pb2.WORKER_KIND_DRAFT)
    for worker in (target, draft):
        assert worker.ready
        assert worker.version == status.version
        assert worker.runtime.startswith("torch 2.")
        assert (worker.device, worker.slots, worker.restarts) == ("cpu", 16, 0)


def test_status_sees_requests_wait_for_a_dead_target(tiny_bundle, start, connect, wait_until):
    with start(tiny_bundle, "--draft", "off", admission__max_concurrent=20) as one:  # by default no more than slots
        caller = connect(one)
        caller.final(history=history())
        one.worker("target-0").suspend()
        calls = [caller.stub.Recommend(pb.RecommendRequest(history=history()), timeout=60) for _ in range(20)]
        wait_until(lambda: ask(one.address).load.in_flight == 20, 10)
        wait_until(lambda: ask(one.address).load.waiting == 4, 10)  # there are 16 slots
        assert ask(one.address).workers[0].in_flight == 20
        one.worker("target-0").kill()
        wait_until(lambda: ask(one.address).state == status_pb2.SERVING_STATE_WAITING, 10)
        assert ask(one.address).load.waiting == 20
        assert all(list(call)[-1].final.items for call in calls)
        wait_until(lambda: ask(one.address).load.in_flight == 0, 10)
        status = ask(one.address)
        assert (status.workers[0].restarts, status.workers[0].in_flight) == (1, 0)
        assert status.state == status_pb2.SERVING_STATE_SERVING


def test_the_command_prints_what_fits_a_terminal(sidecar, caller, capsys):
    caller.final(history=history(), draft=EXPLICIT)
    assert main(["status", "--address", sidecar.address]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    for word in (
        f"on {sidecar.address}: serving",
        "60 items, raw scoring",
        "target-0",
        "draft",
        "torch 2.",
        "p99",
        "share",
    ):
        assert word in said, said


def test_the_command_prints_json_for_scripts(sidecar, caller, capsys):
    caller.final(history=history())
    assert main(["status", "--address", sidecar.address, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["state"] == "SERVING_STATE_SERVING"
    assert told["load"]["requests_by_code"]["OK"] >= 1
    assert told["load"]["permits"] == 16  # the KV slots of its target worker
    assert [worker["name"] for worker in told["workers"]] == ["target-0", "draft"]
    assert told["workers"][0]["kv_bytes"] > 0


def test_the_command_says_when_nobody_answers(capsys):
    assert main(["status", "--address", "127.0.0.1:1", "--timeout-s", "2"]) == 1
    assert capsys.readouterr().err == "sidebeam status: 127.0.0.1:1: nothing answers there\n"


def test_status_can_be_turned_off(tiny_bundle, launch, wait_until, capsys):
    one = launch(tiny_bundle, "--draft", "off", telemetry__status="off")
    wait_until(lambda: one.events("listening"), 30)
    address = one.events("listening")[0]["address"]
    assert main(["status", "--address", address]) == 1
    assert "telemetry.status off" in capsys.readouterr().err


def test_a_sidecar_that_waits_is_no_success(tiny_bundle, launch, wait_until, capsys):
    one = launch(tiny_bundle, "--draft", "off", target__addresses="unix:/nobody/listens.sock")
    wait_until(lambda: one.events("listening"), 30)
    assert main(["status", "--address", one.events("listening")[0]["address"]]) == 1
    said = capsys.readouterr().out
    assert "waiting for a target worker" in said
    assert "starting" in said


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan"])
def test_a_bad_timeout_is_named(text, capsys):
    assert main(["status", "--timeout-s", text]) == 2
    assert f"must be a number of seconds above 0; given '{text}'" in capsys.readouterr().err
