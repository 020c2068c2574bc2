"""The image: its recipe is clean, copies what exists, and its own pip commands make a working `sidebeam`."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
IGNORED = ROOT / "deploy" / "Dockerfile.dockerignore"
UID = "65532"


def steps(stage: str) -> list[tuple[str, str]]:
    """The instructions of one stage, each with what follows its word, continuation lines joined."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    found: list[tuple[str, str]] = []
    inside = False
    for line in filter(None, joined):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            inside = rest.endswith(f" AS {stage}")
        elif inside:
            found.append((word, rest))
    assert found, stage
    return found


def runs(stage: str) -> list[list[str]]:
    """The commands that a stage runs, as arguments; mounts left out."""
    commands = []
    for word, rest in steps(stage):
        if word == "RUN":
            text = re.sub(r"^(--mount=\S+\s+)+", "", rest)
            commands += [shlex.split(command) for command in text.split(" && ")]
    return commands


def sources(stage: str) -> list[tuple[str, str]]:
    """What a stage copies from the checkout, and where to."""
    copies = [rest.split() for word, rest in steps(stage) if word == "COPY" and not rest.startswith("--from")]
    return [(source, copy[-1]) for copy in copies for source in copy[:-1]]


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the package is built: what the recipe copies, and nothing else."""
    folder = tmp_path_factory.mktemp("build")
    for source, target in sources("build") + sources("package"):
        place = folder / target / source.rpartition("/")[2] if target.endswith("/") else folder / target
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("gen", "__pycache__"))
        else:
            shutil.copy(ROOT / source, place)
    return folder


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_exists_and_is_let_through():
    let_through = {line[1:] for line in IGNORED.read_text().splitlines() if line.startswith("!")}
    assert "*" in IGNORED.read_text().splitlines()
    copied = {source for stage in ("build", "package") for source, _ in sources(stage)}
    assert copied == let_through
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_both_images_run_as_the_manifests_user_and_serve_what_they_say(ours):
    runtime = dict(steps("runtime"))
    assert runtime["USER"] == f"{UID}:{UID}"
    assert {
        str(each.spec["securityContext"].get("runAsUser", each.pod["securityContext"]["runAsUser"])) for each in ours
    } == {UID}
    assert {int(port) for port in runtime["EXPOSE"].split()} == set(ours[0].ports.values())
    assert json.loads(runtime["ENTRYPOINT"]) == ["sidebeam"]
    assert json.loads(runtime["CMD"])[0] == "serve"
    for target in ("cpu", "cuda"):
        copies = [rest for word, rest in steps(target) if word == "COPY"]
        assert copies == [f"--from={target}-dependencies /opt/sidebeam /opt/sidebeam", "--from=package /staged /"]


def test_all_that_is_written_goes_to_volumes(ours):
    environment = dict(
        pair.split("=", 1) for word, rest in steps("runtime") if word == "ENV" for pair in shlex.split(rest)
    )
    for name in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"):
        for container in ours:
            mounts = [each["mountPath"] for each in container.spec["volumeMounts"] if not each.get("readOnly")]
            assert any(Path(environment[name]).is_relative_to(mount) for mount in mounts), name


def test_every_pip_command_is_held_to_the_constraints():
    for stage in ("build", "cpu-dependencies", "cuda-dependencies", "package"):
        for command in runs(stage):
            if command[:4] == ["python", "-m", "pip", "install"]:
                assert {"--constraint", "--build-constraint"} & set(command), command
                assert "deploy/constraints.txt" in command


@pytest.mark.slow
def test_the_dependencies_resolve_to_pinned_versions_only(context, tmp_path):
    """Nothing that is installed is of a version that was not tested; torch pins what it brings of CUDA itself."""
    (listing,) = (command for command in runs("build") if command[1] == "-c")
    requirements = run(sys.executable, *listing[1 : listing.index(">")], cwd=context)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {*project["dependencies"], *(each for name, extra in extras.items() if name != "all" for each in extra)}
    assert set(requirements.splitlines()) == wanted
    (tmp_path / "requirements.txt").write_text(requirements)
    (install,) = runs("cuda-dependencies")
    names = [str(context / each) if each == "deploy/constraints.txt" else each for each in install[4:]]
    flags = ["--dry-run", "--ignore-installed", "--quiet", "--report", str(tmp_path / "report.json")]
    run(sys.executable, "-m", "pip", "install", *flags, *names, cwd=tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    installed = {normal(each["metadata"]["name"]) for each in report["install"]}
    pins = (ROOT / "deploy" / "constraints.txt").read_text().splitlines()
    pinned = {normal(line.partition("==")[0]) for line in pins if "==" in line}
    loose = {name for name in installed - pinned if not name.startswith(("nvidia-", "cuda-", "triton"))}
    assert loose == set()
    assert {"torch", "grpcio", "transformers", "prometheus-client"} <= installed


@pytest.mark.slow
def test_the_package_stage_makes_a_sidebeam_that_starts(context, tmp_path):
    """The very command of the stage, with this Python in place of the image's and a folder in place of its root."""
    (install,) = runs("package")
    assert install[:4] == ["python", "-m", "pip", "install"]
    empty = tmp_path / "empty"  # as the image's environment: pip would take away a sidebeam that it finds
    run(sys.executable, "-m", "venv", "--without-pip", empty)
    root = tmp_path / "root"
    arguments = [str(root) if each == "/staged" else each for each in install[4:]]
    run(sys.executable, "-m", "pip", "--python", empty / "bin" / "python", "install", *arguments, cwd=context)
    (packages,) = (root / "opt/sidebeam").glob("lib/python3*/site-packages")
    assert (packages / "sidebeam/v1/recommendation_pb2.py").is_file()
    assert {path.name for path in root.iterdir()} == {"opt"}
    environment = os.environ | {"PYTHONPATH": str(packages)}
    script = root / "opt/sidebeam/bin/sidebeam"
    help_text = run(sys.executable, "-P", script, "serve", "--help", env=environment)
    assert "--bundle" in help_text
    imported = run(sys.executable, "-P", "-c", "import sidebeam.server as s; print(s.__file__)", env=environment)
    assert Path(imported.strip()).is_relative_to(packages)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
