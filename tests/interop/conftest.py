"""A real sidecar with every service, and clients that were not made by us."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import any_pb2, descriptor_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2

HERE = Path(__file__).parent
PROTOS = HERE.parents[1] / "protos"
DETAILS = (error_details_pb2.BadRequest, error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo, status_pb2.Status)

Answer = dict[str, Any]


@pytest.fixture(scope="session")
def bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recommends items and writes texts."""
    copy = tmp_path_factory.mktemp("interop") / "bundle"
    shutil.copytree(tiny_bundle, copy)
    with (copy / "sidebeam.toml").open("a") as file:
        file.write("[texts]\nmax_new_tokens = 8\n")
    return copy


@contextmanager
def serving(bundle: Path, log: Path, *arguments: str) -> Iterator[str]:
    """The address of a sidecar, for the length of the block."""
    command = [sys.executable, "-m", "sidebeam.command.main", "serve", "--bundle", str(bundle), *arguments]
    environment = os.environ | {"SIDEBEAM_TARGET__THREADS": "1", "SIDEBEAM_DRAFT__FIRST_WAIT_MS": "10000"}
    listen = ("--listen", "127.0.0.1:0")
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [*command, *listen], stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        ) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert "serving on " in line, log.read_text()
            yield line.partition("serving on ")[2].strip()
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()


@pytest.fixture(scope="session")
def address(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a sidecar serves."""
    with serving(bundle, tmp_path_factory.mktemp("log") / "stderr") as one:
        yield one


@pytest.fixture(scope="session")
def pem(authority: Callable[[str], Any]) -> dict[str, str]:
    """Files of an authority, and of a server's and a client's certificate that it has signed."""
    ours = authority("interop")
    files = {"ca": ours.pem}
    files["server_cert"], files["server_key"] = ours.issue("server", ["127.0.0.1"])
    files["cert"], files["key"] = ours.issue("client", ["client.example.com"])
    return {name: str(file) for name, file in files.items()}


@pytest.fixture(scope="session")
def secure_address(bundle: Path, pem: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a sidecar serves callers with certificates."""
    flags = ("--tls-cert", pem["server_cert"], "--tls-key", pem["server_key"], "--tls-client-ca", pem["ca"])
    with serving(bundle, tmp_path_factory.mktemp("log") / "stderr", "--draft", "off", *flags) as one:
        yield one


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """@grpc/grpc-js, installed; skips without Node or the registry."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js and npm are not installed")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "call.js"):
        shutil.copy(HERE / name, folder)
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier"]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = re.search(r"code (E[A-Z]+)", done.stderr)
        if reason and reason[1] in ("ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "EAI_AGAIN", "ENETUNREACH"):
            pytest.skip(f"the npm registry cannot be reached: {reason[1]}")
        raise AssertionError(done.stderr)
    (folder / "descriptors").write_bytes(descriptors())
    return folder


def descriptors() -> bytes:
    """Health, the details of errors, and a service by whose methods those can be decoded."""
    helper = descriptor_pb2.FileDescriptorProto(name="interop.proto", package="interop", syntax="proto3")
    service = helper.service.add(name="Decode")
    needed = [any_pb2, duration_pb2, status_pb2, error_details_pb2, health_pb2]
    helper.dependency.extend(["google/rpc/status.proto", "google/rpc/error_details.proto"])
    for message in DETAILS:
        name = message.DESCRIPTOR.full_name
        service.method.add(name=message.DESCRIPTOR.name, input_type=f".{name}", output_type=f".{name}")
    files = descriptor_pb2.FileDescriptorSet()
    for module in needed:
        module.DESCRIPTOR.CopyToProto(files.file.add())
    files.file.append(helper)
    return files.SerializeToString()


@pytest.fixture
def grpc_js(node_modules: Path, request: pytest.FixtureRequest) -> Callable[..., Answer]:
    """Makes one call with @grpc/grpc-js, to the sidecar at `to` or to the one without TLS."""

    def call(service: str, method: str, message: object = None, to: str = "", **asked: object) -> Answer:
        asked |= {"protos": str(PROTOS), "descriptors": str(node_modules / "descriptors")}
        asked |= {"service": service, "method": method, "request": message}
        command = ["node", "call.js", to or request.getfixturevalue("address"), json.dumps(asked)]
        done = subprocess.run(command, cwd=node_modules, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        answer: Answer = json.loads(done.stdout)
        return answer

    return call


@pytest.fixture
def buf_curl(address: str) -> Callable[..., tuple[int, list[Answer], Answer]]:
    """Makes one call with `buf curl`, which learns the API by reflection. Returns exit code, messages and error."""
    buf = Path(sys.executable).with_name("buf")

    def call(path: str, request: object = None, *flags: str) -> tuple[int, list[Answer], Answer]:
        data = [] if request is None else ["--data", json.dumps(request)]
        common = ["--protocol", "grpc", "--http2-prior-knowledge", *flags]
        command = [buf, "curl", *common, *data, f"http://{address}/{path}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd="/")
        failure = json.loads(done.stderr) if done.stderr.startswith("{") else {"text": done.stderr}
        return done.returncode, list(objects(done.stdout)), failure

    return call


def objects(text: str) -> Iterator[Answer]:
    """The JSON objects of a text, one after the other."""
    decoder, text = json.JSONDecoder(), text.strip()
    while text:
        if not text.startswith("{"):
            yield {"text": text}
            return
        value, end = decoder.raw_decode(text)
        yield value
        text = text[end:].strip()
