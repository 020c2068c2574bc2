"""Settings: where they come from, which wins, and what is said about bad ones."""

from __future__ import annotations

import argparse

import pytest

from sidebeam.server import command
from sidebeam.server.config.config import Config
from sidebeam.server.config.config_sources import ConfigError, dump, load


def problems(file=None, environment=(), **flags):
    with pytest.raises(ConfigError) as caught:
        load(file, dict(environment), flags.get("flags", {}))
    return caught.value.problems


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "sidebeam.toml"
    path.write_text('[server]\nlisten = "0.0.0.0:1"\ndrain_delay_s = 3\n[target]\nslots = 4\nthreads = 5\n')
    return path


def test_flags_win_over_environment_over_file_over_defaults(file):
    environment = {"SIDEBEAM_TARGET__SLOTS": "6", "SIDEBEAM_SERVER__LISTEN": "0.0.0.0:2", "SIDEBEAM_HOME": "unrelated"}
    config = load(file, environment, {("server", "listen"): "0.0.0.0:3"})
    assert config.server.listen == "0.0.0.0:3"
    assert config.target.slots == 6
    assert config.target.threads == 5
    assert config.target.replicas == Config().target.replicas
    assert config.server.drain_delay_s == 3.0
    assert isinstance(config.server.drain_delay_s, float)


def test_lists_are_read_from_both(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('[target]\naddresses = ["a:1", "b:2"]\n')
    assert load(path, {}, {}).target.addresses == ["a:1", "b:2"]
    assert load(path, {"SIDEBEAM_TARGET__ADDRESSES": "c:3, d:4"}, {}).target.addresses == ["c:3", "d:4"]


def test_what_is_printed_is_what_would_be_read(tmp_path):
    config = load(None, {"SIDEBEAM_TARGET__MAX_MEMORY": '{"cpu": "1GiB"}', "SIDEBEAM_LIMITS__MAX_TOP_K": "7"}, {})
    path = tmp_path / "printed.toml"
    path.write_text(dump(config))
    assert load(path, {}, {}) == config


def test_all_problems_come_at_once(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("[sever]\nx = 1\n[target]\nslot = 1\nreplicas = 1.5\n")
    found = problems(
        path,
        {"SIDEBEAM_DRAFT__NICE": "99", "SIDEBEAM_DRAFT__THREADS": "many", "SIDEBEAM_DRAFT__MODEL": "x"},
        flags={("target", "dtype"): "int8"},
    )
    said = "\n".join(found)
    assert len(found) == 7
    assert "unknown section [sever]; did you mean 'server'?" in said
    assert "unknown key target.slot; did you mean 'slots'?" in said
    assert "target.replicas must be a whole number; given 1.5" in said
    assert "SIDEBEAM_DRAFT__THREADS: must be a whole number; given 'many'" in said
    assert "unknown key draft.model; did you mean 'mode'?" in said
    assert "draft.nice must be at most 19; given 99" in said
    assert "target.dtype must be one of float32, bfloat16, float16; given 'int8'" in said


@pytest.mark.parametrize(("text", "words"), [("[server", "Expected"), ("server = 3", "must be a section; given 3")])
def test_a_file_that_is_no_settings_is_named(tmp_path, text, words):
    path = tmp_path / "c.toml"
    path.write_text(text)
    (problem,) = problems(path)
    assert str(path) in problem
    assert words in problem


def test_a_missing_file_is_named(tmp_path):
    (problem,) = problems(tmp_path / "none.toml")
    assert problem == f"{tmp_path / 'none.toml'}: No such file or directory"


def test_the_command_tells_each_problem_in_a_line(monkeypatch, capsys):
    monkeypatch.setenv("SIDEBEAM_TARGET__SLOTS", "0")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args(["--bundle", "x", "--replicas", "0"])) == 2
    assert capsys.readouterr().err.splitlines() == [
        "sidebeam serve: target.replicas must be at least 1; given 0",
        "sidebeam serve: target.slots must be at least 1; given 0",
    ]


def test_print_config_prints_flags_too(capsys):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args(["--print-config", "--draft", "off"])) == 0
    assert '[draft]\nmode = "off"' in capsys.readouterr().out
