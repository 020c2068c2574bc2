"""The console command: finds subcommands, imports only the one it runs, and says what is missing."""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sidebeam.command import main as command
from sidebeam.command.main import SUBCOMMANDS, main


def python(script: str) -> subprocess.CompletedProcess[str]:
    """Run `script` in a fresh interpreter."""
    source = textwrap.dedent(script)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", source], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_the_overview_lists_every_subcommand_with_its_summary(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, subcommand in SUBCOMMANDS.items():
        assert any(re.split(r"  +", line.strip()) == [name, subcommand.summary] for line in lines), name


def test_the_overview_imports_no_subcommand() -> None:
    done = python("""
        import sys
        from sidebeam.command.main import SUBCOMMANDS, main
        main(["--help"])
        loaded = {each.module for each in SUBCOMMANDS.values()} & set(sys.modules)
        assert not loaded and "grpc" not in sys.modules, loaded
    """)
    assert (done.returncode, done.stderr) == (0, "")


def test_running_a_subcommand_imports_no_other() -> None:
    done = python("""
        import sys
        from sidebeam.command.main import SUBCOMMANDS, main
        main(["recommend", "--help"])
        loaded = {each.module for each in SUBCOMMANDS.values()} & set(sys.modules)
        assert loaded == {"sidebeam.command.recommend"}, loaded
    """)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_answers_a_call_for_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: sidebeam {name} ")
    assert callable(importlib.import_module(SUBCOMMANDS[name].module).run)


def test_half_a_name_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["knowledge"]) == main(["knowledge", "grops"]) == 2
    assert capsys.readouterr().err.count("sidebeam knowledge: the second word must be one of generate, groups, p") == 2


def test_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("sidebeam ")
    assert output.count("\n") == 1


@pytest.mark.parametrize(("name", "hint"), [("sevre", "did you mean 'serve'?"), ("xyz", "there are serve, recommend")])
def test_an_unknown_subcommand_is_a_usage_error(name: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name]) == 2
    error = capsys.readouterr().err
    assert repr(name) in error
    assert hint in error


def test_bad_usage_of_a_subcommand_returns_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", "--no-such-flag"]) == 2
    assert "sidebeam recommend: error" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["at import", "when run"])
def test_a_missing_extra_is_named_without_a_traceback(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need = "import a_package_nobody_has.part"
    early, late = (need, "pass") if where == "at import" else ("", need)
    source = f'{early}\nSUMMARY = ""\ndef add_arguments(parser): pass\ndef run(args): {late}\n'
    (tmp_path / "needy_subcommand.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "needy_subcommand", raising=False)
    monkeypatch.setitem(SUBCOMMANDS, "serve", command.Subcommand("needy_subcommand", "", "server"))
    assert main(["serve"]) == 2
    error = capsys.readouterr().err.splitlines()
    assert error[0] == "sidebeam serve needs the extra 'server': pip install 'sidebeam[server]'"
    assert "a_package_nobody_has" in error[1]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import sidebeam.no_such_part", ModuleNotFoundError),
        ("from sys import no_such_name", ImportError),
        ("1 / 0", ZeroDivisionError),
    ],
)
def test_a_bug_of_our_own_surfaces(
    source: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "buggy_subcommand.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "buggy_subcommand", raising=False)
    monkeypatch.setitem(SUBCOMMANDS, "serve", command.Subcommand("buggy_subcommand", "", "server"))
    with pytest.raises(error):
        main(["serve"])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_quietly(address: str, number: signal.Signals, code: int) -> None:
    arguments = ["recommend", "--address", address, "--prompt", "silent", "--timeout-s", "30", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "sidebeam.command.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert '"beams"' in process.stdout.readline()
        process.send_signal(number)
        _, error = process.communicate(timeout=20)
    assert (process.returncode, error) == (code, "")


def test_a_reader_that_has_seen_enough_causes_no_traceback(address: str) -> None:
    read, write = os.pipe()
    arguments = ["recommend", "--address", address, "--prompt", "endless", "--timeout-s", "30", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "sidebeam.command.main", *arguments], stdout=write, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(write)
        assert os.read(read, 10) == b'{"event": '
        os.close(read)
        _, error = process.communicate(timeout=20)
    assert (process.returncode, error) == (1, "")
