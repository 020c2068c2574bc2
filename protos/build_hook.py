"""Compile the protos when the package is built; run as a script to do it by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def generate(protos: Path, out: Path) -> None:
    """Write messages, type stubs and services for every .proto below `protos` into `out`."""
    from grpc_tools import protoc

    out.mkdir(parents=True, exist_ok=True)
    files = sorted(str(path) for path in (protos / "sidebeam").rglob("*.proto"))
    flags = [f"-I{protos}", f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}"]
    if protoc.main(["protoc", *flags, *files]):
        raise RuntimeError(f"protoc failed on {files}")
    for package in {Path(file).relative_to(protos).parent for file in files}:
        (out / package / "py.typed").touch()


class ProtoBuildHook(BuildHookInterface[Any]):
    """Hatchling runs this before every wheel, editable ones included."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        protos = Path(self.root) / "protos"
        generate(protos, protos / "gen")


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    generate(here, here / "gen")
