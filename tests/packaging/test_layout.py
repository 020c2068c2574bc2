"""The rules that keep one namespace over several folders working."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMESPACES = [ROOT / folder / "sidebeam" for folder in ("client", "server", "workers")]
PACKAGES = sorted({path.parent for namespace in NAMESPACES for path in namespace.rglob("*.py")})
LIGHT = (
    *("client", "tls", "command", "page", "load", "server", "telemetry"),
    *("tracing", "logs", "cores", "line", "bundle", "catalog"),
)


def test_no_folder_claims_the_namespace() -> None:
    """An `__init__.py` directly in one `sidebeam` folder would hide all the others."""
    assert [namespace for namespace in NAMESPACES if (namespace / "__init__.py").exists()] == []
    assert not (ROOT / "protos" / "gen" / "sidebeam" / "__init__.py").exists()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_package_is_typed_and_described(package: Path) -> None:
    marked = next(parent for parent in (package, *package.parents) if parent.parent in NAMESPACES)  # one for all inside
    assert (marked / "py.typed").is_file()
    assert ast.get_docstring(ast.parse((package / "__init__.py").read_text()))


def test_light_packages_never_name_a_heavy_one() -> None:
    heavy = {"torch", "transformers", "accelerate"}
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for namespace in NAMESPACES
        for package in LIGHT
        for path in (namespace / package).rglob("*.py")
        for name in imports(path)
        if name in heavy
    ]
    assert found == []


def imports(path: Path) -> set[str]:
    """Return the top-level names of the modules that `path` imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").partition(".")[0])
    return names


def test_constraints_pin_every_declared_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    groups.append(project["dependency-groups"]["dev"])
    groups.append(project["build-system"]["requires"])
    declared = {name_of(requirement) for group in groups for requirement in group} - {"sidebeam"}
    lines = (ROOT / "deploy" / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all("==" in pin and "+" not in pin for pin in pins)
    assert declared - {name_of(pin) for pin in pins} == set()


def name_of(requirement: str) -> str:
    """Return a requirement's normalised project name."""
    end = next((index for index, letter in enumerate(requirement) if letter in "=<>!~[; "), len(requirement))
    return requirement[:end].lower().replace("_", "-")


SERVER = ROOT / "server" / "sidebeam" / "server"
FRONT = (  # from the lowest layer to the highest; what lies in no folder is above all
    *("refusals", "config", "lifecycle", "fleet", "security", "admission", "interception"),
    *("recommendation", "knowledge", "status", "reload"),
)


def test_the_fronts_layers_import_downwards_only() -> None:
    assert sorted(FRONT) == sorted(folder.name for folder in SERVER.iterdir() if (folder / "__init__.py").exists())
    found = [
        f"{path.relative_to(SERVER)} imports {upper}"
        for place, layer in enumerate(FRONT)
        for path in (SERVER / layer).rglob("*.py")
        for upper in front_imports(path)
        if upper not in FRONT[: place + 1]
    ]
    assert found == []


def front_imports(path: Path) -> set[str]:
    """Return what `path` imports of the front: names of layers, and of modules above them."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    modules = [node.module.split(".") for node in nodes if node.module and not node.level]
    return {parts[2] for parts in modules if parts[:2] == ["sidebeam", "server"] and len(parts) > 2}
