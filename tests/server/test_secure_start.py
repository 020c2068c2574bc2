"""Settings and files that would leave the door open, or shut for all, end the start; each is named."""

from __future__ import annotations

import os
import stat

import grpc
import pytest

from sidebeam.server.config.config_sources import load
from sidebeam.server.lifecycle.listening import ListenError, listen
from sidebeam.server.lifecycle.reloads import Reloads
from sidebeam.server.lifecycle.socket_folder import SocketFolderError, refuse_unsafe, socket_folder
from sidebeam.server.security.security import Security

NOBODY = 65534
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")


@pytest.fixture(scope="module")
def ours(authority):
    return authority("start")


def refusal(**settings):
    environment = {f"SIDEBEAM_{key.upper()}": str(value) for key, value in settings.items()}
    with pytest.raises(ValueError, match=r"^t(ls|enants)\.") as caught:
        Security(load(None, environment, {}), Reloads())
    return str(caught.value)


def test_certificates_that_do_not_do_are_named(ours, tmp_path):
    certificate, key = ours.issue("good")
    expired, late_key = ours.issue("late", days=-1)
    none = tmp_path / "none.pem"
    pair = {"tls__certificate": certificate, "tls__key": key}
    assert refusal(tls__certificate=certificate) == f"tls.certificate {certificate}: tls.key is not set"
    for name in ("key", "client_ca"):
        said = refusal(**{f"tls__{name}": key})
        assert said == f"tls.{name} {key}: goes with tls.certificate, which is not set"
    said = refusal(tls__certificate=expired, tls__key=late_key)
    assert said == f"tls.certificate {expired}: certificate has expired"
    assert refusal(tls__certificate=certificate, tls__key=late_key).startswith(f"tls.key {late_key}: is not the key of")
    assert refusal(tls__certificate=none, tls__key=key) == f"tls.certificate {none}: No such file or directory"
    assert refusal(**pair, tls__client_ca=none) == f"tls.client_ca {none}: No such file or directory"
    assert refusal(**pair, tls__client_ca=certificate).startswith(
        f"tls.client_ca {certificate}: holds no certificate of"
    )
    assert refusal(**pair, tenants__file=none) == f"tenants.file {none}: No such file or directory"


def test_a_sidecar_with_an_expired_certificate_ends_with_code_2(ours, tiny_bundle, launch):
    certificate, key = ours.issue("gone", days=-1)
    one = launch(tiny_bundle, "--tls-cert", str(certificate), "--tls-key", str(key))
    assert one.wait() == 2
    assert one.lines[-1] == f"sidebeam serve: tls.certificate {certificate}: certificate has expired"
    assert not one.events("worker_up")


def test_a_folder_that_others_may_change_is_refused(tmp_path):
    refuse_unsafe(tmp_path)
    for mode in (0o777, 0o770, 0o722):
        tmp_path.chmod(mode)
        with pytest.raises(
            SocketFolderError, match=f"{tmp_path} has mode {mode:04o}: others may replace what is in it"
        ):
            refuse_unsafe(tmp_path)
    tmp_path.chmod(0o1777)
    refuse_unsafe(tmp_path)
    tmp_path.chmod(0o755)
    refuse_unsafe(tmp_path)


def test_what_is_no_folder_is_refused(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SocketFolderError, match="is not a folder"):
        refuse_unsafe(file)
    with pytest.raises(SocketFolderError, match="No such file or directory"):
        refuse_unsafe(tmp_path / "none")


@needs_root
def test_a_folder_of_another_user_is_refused(tmp_path):
    os.chown(tmp_path, NOBODY, NOBODY)
    with pytest.raises(SocketFolderError, match=f"{tmp_path} belongs to another user, number {NOBODY}"):
        refuse_unsafe(tmp_path)


def test_unsafe_folders(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with socket_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert folder.parent == tmp_path
    assert not folder.exists()
    tmp_path.chmod(0o777)
    with pytest.raises(SocketFolderError, match="others may replace"), socket_folder():
        pass
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(SocketFolderError, match="No such file or directory"), socket_folder():
        pass


@pytest.mark.parametrize("mode", ["600", "660", "666"])
async def test_a_socket_has_its_mode_from_the_start(tmp_path, mode):
    server = grpc.aio.server()
    address = f"unix:{tmp_path}/s.sock"
    assert listen(server, address, socket_mode=mode) == address
    assert stat.S_IMODE((tmp_path / "s.sock").stat().st_mode) == int(mode, 8)
    assert stat.S_IMODE(os.umask(0o022)) == 0o022  # what it was before
    await server.start()
    await server.stop(None)


async def test_no_socket_is_made_where_others_could_replace_it(tmp_path):
    tmp_path.chmod(0o777)
    server = grpc.aio.server()
    with pytest.raises(ListenError, match=f"cannot listen on unix:{tmp_path}/s.sock: {tmp_path} has mode 0777"):
        listen(server, f"unix:{tmp_path}/s.sock")
    assert not list(tmp_path.iterdir())
    await server.stop(None)


def test_a_public_socket_folder_that_others_may_write_ends_with_code_2(tiny_bundle, launch, tmp_path):
    tmp_path.chmod(0o777)
    one = launch(tiny_bundle, "--listen", f"unix:{tmp_path}/s.sock")
    assert one.wait() == 2
    assert "others may replace what is in it" in one.lines[-1]


def test_workers_listen_where_only_their_user_can_connect(sidecar):
    for name in ("target-0", "draft"):
        command = sidecar.worker(name).cmdline()
        path = command[command.index("--listen") + 1].removeprefix("unix:")
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
