"""A fresh clone: its wheel installs light, its editable install finds every folder, `make check` looks at each."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
CONSTRAINTS = str(ROOT / "deploy" / "constraints.txt")
SOURCES = ("client", "server", "workers", "protos", "deploy", "pyproject.toml", "README.md", "Makefile")


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `command` with nothing of this checkout on Python's path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False)


def succeed(*command: str | Path) -> str:
    """Run `command`, which must succeed, and return what it printed."""
    done = run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(venv: Path, *arguments: str | Path) -> None:
    """Run the pip of this interpreter on the environment `venv`."""
    succeed(sys.executable, "-m", "pip", "--python", venv / "bin" / "python", *arguments)


def new_venv(folder: Path) -> Path:
    """Make an empty environment."""
    succeed(sys.executable, "-m", "venv", "--without-pip", folder)
    return folder


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy without generated files, as a fresh clone has it."""
    folder = tmp_path_factory.mktemp("clone")
    skip = shutil.ignore_patterns("gen", "__pycache__")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=skip)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = ("wheel", "--no-deps", "--build-constraint", CONSTRAINTS, "-w", folder, sources)
    succeed(sys.executable, "-m", "pip", *build)
    (path,) = folder.glob("sidebeam-*.whl")
    return path


@pytest.fixture(scope="module")
def client_venv(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what it needs without any extra."""
    venv = new_venv(tmp_path_factory.mktemp("client") / "venv")
    pip(venv, "install", "-c", CONSTRAINTS, wheel)
    return venv


def test_the_wheel_holds_every_part(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {
        path.relative_to(ROOT / folder).as_posix()
        for folder in ("client", "server", "workers")
        for path in (ROOT / folder / "sidebeam").rglob("*.py")
    }
    generated = {f"sidebeam/v1/recommendation_pb2{end}" for end in (".py", ".pyi", "_grpc.py")}
    assert (modules | generated | {"sidebeam/v1/py.typed", "sidebeam/client/py.typed"}) - names == set()
    assert "sidebeam/__init__.py" not in names
    assert {name.partition("/")[0] for name in names} == {"sidebeam", "sidebeam-0.1.0.dist-info"}


def test_a_client_install_is_light_and_works(client_venv: Path) -> None:
    absent = ("torch", "numpy", "transformers", "tokenizers", "grpc_health")
    script = (
        "import importlib.util, sidebeam.client, sidebeam.v1.recommendation_pb2_grpc\n"
        f"print([name for name in {absent} if importlib.util.find_spec(name)])"
    )
    assert succeed(client_venv / "bin" / "python", "-W", "error", "-c", script) == "[]\n"


def test_a_client_install_has_the_console_command(client_venv: Path) -> None:
    sidebeam = client_venv / "bin" / "sidebeam"
    assert re.search(r"^  recommend +ask a running sidecar", succeed(sidebeam, "--help"), re.MULTILINE)
    assert succeed(sidebeam, "--version") == "sidebeam 0.1.0\n"
    refused = run(sidebeam, "recommend", "--address", "127.0.0.1:1", "--history", "1")
    assert refused.returncode == 1
    assert "UNAVAILABLE" in refused.stderr


@pytest.mark.parametrize(
    ("subcommand", "extra"),
    [
        ("serve", "server"),
        ("load", "loadtest"),
        ("train", "workers"),
        ("check", "workers"),
        ("bench", "workers"),
        ("demo", "all"),
    ],
)
def test_a_client_install_names_the_extra_that_is_missing(client_venv: Path, subcommand: str, extra: str) -> None:
    arguments = {
        "serve": ["--bundle", "."],
        "load": ["--rate", "1", "--mix", "x"],
        "train": ["target", "--items", "x", "--interactions", "x", "--out", "x"],
        "check": ["--bundle", "."],
        "bench": ["recommend", "--bundle", ".", "--interactions", "x"],
    }
    done = run(client_venv / "bin" / "sidebeam", subcommand, *arguments.get(subcommand, []))
    assert done.returncode == 2
    first = f"sidebeam {subcommand} needs the extra '{extra}': pip install 'sidebeam[{extra}]'"
    assert done.stderr.splitlines()[0] == first


def test_an_editable_install_finds_every_folder(sources: Path, tmp_path: Path) -> None:
    venv = new_venv(tmp_path / "venv")
    pip(venv, "install", "--no-deps", "--build-constraint", CONSTRAINTS, "-e", sources)
    script = "import sidebeam; print(*sidebeam.__path__, sep='\\n')"
    found = {Path(line) for line in succeed(venv / "bin" / "python", "-c", script).splitlines()}
    assert found == {sources / folder / "sidebeam" for folder in ("client", "server", "workers", "protos/gen")}


def test_make_check_looks_for_type_errors_in_every_folder(sources: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(sources, clone)
    folders = ("client/sidebeam/client", "server/sidebeam/server", "workers/sidebeam/search")
    for folder in folders:
        (clone / folder / "planted.py").write_text('wrong: int = "text"\n')
    steps = succeed("make", "-n", "-C", clone, "check").splitlines()
    (arguments,) = (step.split()[1:] for step in steps if step.startswith(".venv/bin/mypy"))
    environment = os.environ | {"MYPYPATH": ""}
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *arguments],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    missed = [folder for folder in folders if f"{folder}/planted.py:1: error" not in done.stdout]
    assert missed == [], done.stdout + done.stderr
