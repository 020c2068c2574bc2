"""Settings of a running sidecar change, as far as they may."""

from __future__ import annotations

import time

import grpc
import pytest

from sidebeam.command.main import main
from sidebeam.server.config.config import Config
from sidebeam.server.config.config_sources import ConfigSource
from sidebeam.server.config.running_config import Change, live_keys
from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.v1 import status_pb2

HISTORY = pb.ItemHistory(item_ids=["i3", "i17"])


def test_what_needs_a_restart_stays_and_is_named(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text('[server]\nlisten = "127.0.0.1:9"\ndrain_delay_s = 3\n[limits]\nmax_top_k = 7\n')
    change = Change.between(Config(), ConfigSource(file, {}, {}).read())
    assert change.taken == ("server.drain_delay_s", "limits.max_top_k")
    assert change.left == ("server.listen",)
    assert change.config.server.listen == Config().server.listen
    assert (change.config.server.drain_delay_s, change.config.limits.max_top_k) == (3.0, 7)
    assert Change.between(change.config, change.config).taken == ()


def test_flags_and_environment_win_over_a_changed_file_too(tmp_path):
    file = tmp_path / "c.toml"
    source = ConfigSource(file, {"SIDEBEAM_LIMITS__MAX_TOP_K": "9"}, {("server", "listen"): "127.0.0.1:1"})
    for most in (5, 6):
        file.write_text(f'[limits]\nmax_top_k = {most}\nmax_in_flight = {most}\n[server]\nlisten = "0.0.0.0:2"\n')
        config = source.read()
        assert (config.limits.max_top_k, config.limits.max_in_flight) == (9, most)
        assert config.server.listen == "127.0.0.1:1"


def test_no_key_is_live_that_a_worker_or_a_port_has_taken():
    sections = {key.partition(".")[0] for key in live_keys()}
    assert sections == {"server", "draft", "texts", "limits", "admission"}
    assert "server.listen" not in live_keys()
    assert "draft.threads" not in live_keys()


@pytest.fixture(scope="module")
def steady(tiny_bundle, change, tmp_path_factory):
    with change(tiny_bundle, tmp_path_factory.mktemp("steady"), "--draft", "off") as one:
        yield one


def refused(caller, n):
    """How many of so many requests in a row are turned away for their rate."""
    errors = []
    for _ in range(n):
        try:
            caller.final(history=HISTORY, top_k=1)
        except grpc.RpcError as error:
            errors.append(error)
    assert all(error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED for error in errors)
    assert all("more than 1 requests in a second" in error.details() for error in errors)
    return len(errors)


def test_the_rate_ceiling_changes_without_a_restart(steady):
    assert refused(steady.caller, 4) == 0
    line = steady.configure("[admission]\nrequests_per_second = 1\nmax_wait_ms = 0\n")
    assert line["changed"] == ["admission.requests_per_second", "admission.max_wait_ms"]
    assert refused(steady.caller, 8) >= 1
    assert steady.configure("")["changed"] == ["admission.requests_per_second", "admission.max_wait_ms"]
    assert refused(steady.caller, 8) == 0


def test_limits_of_requests_change(steady):
    steady.configure("[limits]\nmax_top_k = 3\n")
    assert "must be at most 3; given 4" in steady.caller.error(history=HISTORY, top_k=4).details()
    steady.configure("")
    assert len(steady.caller.final(history=HISTORY, top_k=4).items) == 4


def test_restart_only_keys_are_named_and_the_others_taken(steady):
    line = steady.configure("[target]\nslots = 3\n[limits]\nmax_top_k = 3\n", event="config_needs_restart")
    assert line["keys"] == ["target.slots"]
    assert "must be at most 3; given 4" in steady.caller.error(history=HISTORY, top_k=4).details()
    (told,) = (each for each in steady.status().reloads if each.what == "config")
    assert told.last == status_pb2.RELOAD_OUTCOME_PARTLY_TAKEN
    steady.configure("")


def test_a_bad_file_changes_nothing_and_every_problem_is_named(steady, capsys):
    line = steady.configure(
        "[limits]\nmax_top_k = 3\nmax_topk = 5\n[admission]\nmax_wait_ms = -1\n[serve]\n", event="config_not_reloaded"
    )
    problems = "\n".join(line["problems"])
    assert "unknown key limits.max_topk; did you mean 'max_top_k'?" in problems
    assert "unknown section [serve]; did you mean 'server'?" in problems
    assert "admission.max_wait_ms must be at least 0; given -1" in problems
    assert len(steady.caller.final(history=HISTORY, top_k=4).items) == 4
    (told,) = (each for each in steady.status().reloads if each.what == "config")
    assert told.last == status_pb2.RELOAD_OUTCOME_REFUSED
    assert told.age_s < 60
    assert main(["status", "--address", steady.sidecar.address]) == 0
    said = capsys.readouterr().out
    assert "config not reloaded" in said
    assert " refused); see the log" in said
    assert max(map(len, said.splitlines())) <= 80
    steady.configure("")


@pytest.mark.slow
def test_a_changed_file_is_found_without_being_asked_for(tiny_bundle, change, tmp_path, wait_until):
    with change(tiny_bundle, tmp_path, "--draft", "off", server__reload_interval_s=0.2) as one:
        one.config.write_text("[limits]\nmax_top_k = 3\n")
        wait_until(lambda: one.sidecar.events("config_reloaded", changed=["limits.max_top_k"]), 30)
        assert "given 4" in one.caller.error(history=HISTORY, top_k=4).details()
        time.sleep(0.5)
        assert len(one.sidecar.events("config_reloaded")) == 1
