"""The generated code that is imported says what the .proto files say."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROTOS = Path(__file__).parents[2] / "protos"
SOURCES = sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / "sidebeam").rglob("*.proto"))

# Prints the serialised descriptor of each file, and the methods of its services.
DESCRIBE = """
import importlib, json, sys
from google.protobuf import descriptor_pool
for source in sys.argv[1:]:
    importlib.import_module(source.removesuffix(".proto").replace("/", ".") + "_pb2")
pool = descriptor_pool.Default()
print(json.dumps({source: pool.FindFileByName(source).serialized_pb.hex() for source in sys.argv[1:]}))
"""


def describe(path: str | None) -> dict[str, str]:
    """Return the descriptors that Python finds, with `path` searched first."""
    paths = [path] if path else []
    paths += [entry for entry in sys.path if entry and not path]
    done = subprocess.run(
        [sys.executable, "-c", DESCRIBE, *SOURCES],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=True,
    )
    descriptors: dict[str, str] = json.loads(done.stdout)
    return descriptors


def test_generated_code_is_that_of_the_sources(tmp_path: Path) -> None:
    flags = [f"-I{PROTOS}", f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *flags, *SOURCES], cwd=PROTOS, check=True)
    assert len(SOURCES) >= 4
    assert describe(None) == describe(str(tmp_path)), "regenerate: pip install -e . or python protos/build_hook.py"


@pytest.mark.parametrize("source", [source for source in SOURCES if source.startswith("sidebeam/v1/")])
def test_every_message_field_and_method_is_documented(source: str) -> None:
    """The public .proto is the manual of callers who use another language."""
    lines = (PROTOS / source).read_text().splitlines()
    starts = ("message ", "enum ", "service ", "rpc ", "oneof ")
    undocumented = [
        line
        for before, line in itertools.pairwise(lines)
        if (line.strip().startswith(starts) or (line.startswith("  ") and line.rstrip().endswith(";")))
        and not before.strip().startswith("//")
    ]
    assert undocumented == []
