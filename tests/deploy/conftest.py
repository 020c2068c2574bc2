"""The manifests as `kubectl kustomize` renders them, and the pods in them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidebeam.server.config.config import Config
from sidebeam.server.config.config_sources import load

ROOT = Path(__file__).parents[2]
OVERLAYS = ROOT / "deploy" / "kubernetes" / "overlays"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Container:
    """A container of ours, with the pod around it and the manifests around that."""

    overlay: str
    owner: Manifest
    pod: Manifest
    labels: dict[str, str]
    spec: Manifest
    manifests: tuple[Manifest, ...]

    @property
    def is_front(self) -> bool:
        return "command" not in self.spec

    @property
    def environment(self) -> dict[str, str]:
        """Variables with a value of their own; those that refer to the pod keep their reference."""
        return {each["name"]: each["value"] for each in self.spec.get("env", []) if "value" in each}

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.spec["ports"]}

    def volume(self, path: str) -> Manifest:
        """The volume that is mounted at `path`."""
        (mount,) = (each for each in self.spec["volumeMounts"] if each["mountPath"] == path)
        (volume,) = (each for each in self.pod["volumes"] if each["name"] == mount["name"])
        return volume

    def settings(self, folder: Path) -> Config:
        """What the front in it runs with, as the server's own loader reads it. `folder` is for the file."""
        name = self.volume("/etc/sidebeam")["configMap"]["name"]
        (data,) = (each["data"] for each in self.manifests if each["metadata"]["name"] == name)
        file = folder / "config.toml"
        file.write_text(data["config.toml"])
        return load(file, self.environment, {})


@cache
def rendered(folder: Path) -> tuple[Manifest, ...]:
    """What one kustomization makes; skips where there is no kubectl that is new enough."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    version = json.loads(subprocess.check_output(["kubectl", "version", "--client", "-o", "json"]))
    if "kustomizeVersion" not in version:  # Debian 12 has 1.20
        pytest.skip(f"kubectl {version['clientVersion']['gitVersion']} is older than 1.24: its kustomize is of 2019")
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "kustomize warns"
    return tuple(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="session")
def render() -> Callable[[str], tuple[Manifest, ...]]:
    """The manifests of one overlay, by its name."""
    return lambda overlay: rendered(OVERLAYS / overlay)


def containers(overlay: str) -> Iterator[Container]:
    """All containers of one overlay that run Sidebeam."""
    manifests = rendered(OVERLAYS / overlay)
    for owner in manifests:
        for template in _templates(owner):
            pod = template["spec"]
            for spec in [*pod.get("initContainers", []), *pod["containers"]]:
                if spec["image"].startswith("sidebeam-"):
                    yield Container(overlay, owner, pod, template["metadata"]["labels"], spec, manifests)


def _templates(owner: Manifest) -> list[Manifest]:
    if owner["kind"] == "Deployment":
        return [owner["spec"]["template"]]
    if owner["kind"] == "LeaderWorkerSet":
        group = owner["spec"]["leaderWorkerTemplate"]
        return [group["leaderTemplate"], group["workerTemplate"]]
    return []


@pytest.fixture(scope="session")
def ours() -> list[Container]:
    """Every container that runs Sidebeam, of all overlays that have pods."""
    overlays = sorted(folder.name for folder in OVERLAYS.iterdir() if folder.name != "monitoring")
    return [container for overlay in overlays for container in containers(overlay)]


@pytest.fixture(scope="session")
def fronts(ours: list[Container]) -> list[Container]:
    """Those of them that serve callers."""
    return [container for container in ours if container.is_front]


@pytest.fixture(scope="session")
def workers(ours: list[Container]) -> list[Container]:
    """Those of them that are target workers by themselves."""
    return [container for container in ours if not container.is_front]
