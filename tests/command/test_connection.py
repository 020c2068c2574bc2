"""Options of TLS and tenants, and a sidecar's port that asks for both."""

from __future__ import annotations

import argparse
import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from sidebeam.command import connection
from sidebeam.command.main import main
from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.v1 import recommendation_pb2_grpc, status_pb2, status_pb2_grpc

Capture = pytest.CaptureFixture[str]
TOKEN = "Zm9vYmFy"


def refusal(*arguments: object) -> str:
    parser = argparse.ArgumentParser()
    connection.add_arguments(parser)
    with pytest.raises(connection.ConnectionOptionError) as caught:
        connection.connection(parser.parse_args([str(each) for each in arguments]))
    return str(caught.value)


@pytest.fixture(scope="module")
def ours(authority: Any) -> Any:
    return authority("options")


def test_files_that_do_not_do_are_named_by_their_option(ours: Any, tmp_path: Path) -> None:
    certificate, _ = ours.issue("caller")
    late, late_key = ours.issue("late", days=-1)
    none = tmp_path / "none.pem"
    assert refusal("--tls-ca", none) == f"--tls-ca {none}: No such file or directory"
    assert refusal("--tls-ca", certificate).startswith(f"--tls-ca {certificate}: holds no certificate of an authority")
    assert refusal("--tls-cert", certificate) == "--tls-cert and --tls-key go together"
    assert refusal("--tls-cert", late, "--tls-key", late_key) == f"--tls-cert {late}: certificate has expired"
    said = refusal("--tls-cert", certificate, "--tls-key", late_key)
    assert said == f"--tls-key {late_key}: is not the key of --tls-cert {certificate}"
    assert refusal("--tls-name", "x") == "--tls-name goes with --tls-ca or --tls-cert"


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"\xff", b"two\nlines"])
def test_a_token_file_holds_one_word(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    assert refusal("--token-file", file).startswith(f"--token-file {file}: must hold ")
    assert refusal("--token-file", tmp_path) == f"--token-file {tmp_path}: Is a directory"


def test_bad_options_end_with_code_2(capsys: Capture, tmp_path: Path) -> None:
    for command in (["recommend", "--history", "1"], ["status"], ["generate", "--prompt", "x"]):
        assert main([*command, "--tls-ca", str(tmp_path / "none")]) == 2
        assert f"sidebeam {command[0]}: --tls-ca {tmp_path}/none: No such file or directory" in capsys.readouterr().err


class Guarded(recommendation_pb2_grpc.RecommendationServiceServicer, status_pb2_grpc.StatusServiceServicer):
    """Answers those who show a certificate and the token."""

    async def Recommend(self, request: pb.RecommendRequest, context: Any) -> None:  # noqa: N802
        await self._check(context)
        await context.write(pb.RecommendResponse(final=pb.Final(items=[pb.Item(item_id="i1", rank=1)])))

    async def GetStatus(self, request: status_pb2.GetStatusRequest, context: Any) -> Any:  # noqa: N802
        await self._check(context)
        return status_pb2.GetStatusResponse(state=status_pb2.SERVING_STATE_SERVING)

    async def _check(self, context: Any) -> None:
        assert context.auth_context()["x509_common_name"] == [b"guest"]
        if dict(context.invocation_metadata()).get("authorization") != f"Bearer {TOKEN}":
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who calls?")


@pytest.fixture(scope="module")
def guarded(ours: Any) -> Iterator[str]:
    """Where it listens. Its certificate names another host."""
    certificate, key = ours.issue("sidecar", ["sidecar.example"])
    started, stop, ports = threading.Event(), threading.Event(), []

    async def serve() -> None:
        server = grpc.aio.server()
        recommendation_pb2_grpc.add_RecommendationServiceServicer_to_server(Guarded(), server)
        status_pb2_grpc.add_StatusServiceServicer_to_server(Guarded(), server)
        pair = [(key.read_bytes(), certificate.read_bytes())]
        credentials = grpc.ssl_server_credentials(pair, ours.pem.read_bytes(), require_client_auth=True)
        ports.append(server.add_secure_port("127.0.0.1:0", credentials))
        await server.start()
        started.set()
        await asyncio.to_thread(stop.wait)
        await server.stop(None)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(20)
    yield f"127.0.0.1:{ports[0]}"
    stop.set()
    thread.join()


@pytest.mark.parametrize("command", [["recommend", "--history", "1"], ["status"]], ids=" ".join)
def test_a_secured_sidecar_is_reached_with_all_of_them(
    guarded: str, ours: Any, tmp_path: Path, capsys: Capture, command: list[str]
) -> None:
    certificate, key = ours.issue("guest")
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    whole = [*command, "--address", guarded, "--tls-ca", str(ours.pem), "--tls-name", "sidecar.example"]
    whole += ["--tls-cert", str(certificate), "--tls-key", str(key), "--token-file", str(token), "--json"]
    assert main(whole) == 0
    capsys.readouterr()
    without_token = [each for each in whole if each not in ("--token-file", str(token))]
    assert main(without_token) == 1
    assert "UNAUTHENTICATED: who calls?" in capsys.readouterr().err
    without_name = [each for each in whole if each not in ("--tls-name", "sidecar.example")]
    assert main(without_name) == 1
    assert "UNAUTHENTICATED" not in capsys.readouterr().err
