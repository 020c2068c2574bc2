"""A sidecar with TLS, client certificates and tenants: who comes in, who does not, and files that change meanwhile."""

from __future__ import annotations

import hashlib
import shutil
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.v1 import recommendation_pb2_grpc, status_pb2, status_pb2_grpc

HISTORY = pb.ItemHistory(item_ids=["i3", "i17"])
REQUEST = pb.RecommendRequest(history=HISTORY, draft=pb.DraftSettings(mode=pb.DRAFT_MODE_OFF))
SERVICE = "sidebeam.v1.RecommendationService"
TOKEN = "q7VtR0dKe5Zb1xUuYw3n"
LOOK_S = 0.1
WAIT_S = 30


def section(name, tokens=(), certificates=()):
    hashes = [f"sha256:{hashlib.sha256(token.encode()).hexdigest()}" for token in tokens]
    return f"[{name}]\ntokens = {hashes}\ncertificates = {list(certificates)}\n"


TENANTS = section("shop-a", [TOKEN]) + section("shop-b", (), ["b.example"]) + section("shop-c", (), ["c.example"])


class Secured:
    """The sidecar, its files, and ways in."""

    def __init__(self, sidecar, folder, ours, server):
        self.sidecar = sidecar
        self.folder = folder
        self.ours = ours
        self.server = server

    @contextmanager
    def channel(self, files=None, trusted=None):
        """A connection of its own."""
        certificate, key = (each.read_bytes() for each in files) if files else (None, None)
        credentials = grpc.ssl_channel_credentials((trusted or self.ours.pem).read_bytes(), key, certificate)
        options = (("grpc.use_local_subchannel_pool", 1),)
        with grpc.secure_channel(self.sidecar.address, credentials, options) as channel:
            yield channel

    def ask(self, files=None, metadata=(), trusted=None):
        """The answer."""
        with self.channel(files, trusted) as channel:
            return recommend(channel, metadata)[-1].final

    def error(self, files=None, metadata=(), trusted=None):
        """The error of a call that must fail."""
        with pytest.raises(grpc.RpcError) as caught:
            self.ask(files, metadata, trusted)
        return caught.value

    def install(self, name, file):
        """Replace a file of the sidecar's at once, as Kubernetes does."""
        fresh = self.folder / f"{name}.new"
        shutil.copyfile(file, fresh)
        fresh.rename(self.folder / name)

    def shown(self, files):
        """The certificate that the sidecar shows to a new connection, as bytes."""
        context = ssl.create_default_context(cafile=self.ours.pem)
        context.load_cert_chain(*files)
        host, _, port = self.sidecar.address.rpartition(":")
        with socket.create_connection((host, int(port))) as raw, context.wrap_socket(raw, server_hostname=host) as tls:
            return tls.getpeercert(binary_form=True)


def recommend(channel, metadata=(), timeout_s=20):
    return list(recommendation_pb2_grpc.RecommendationServiceStub(channel).Recommend(REQUEST, timeout_s, metadata))


def bearer(token):
    return (("authorization", f"Bearer {token}"),)


def reason(error):
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(error).details[0].Unpack(info)
    return info.reason


@pytest.fixture(scope="module")
def ours(authority):
    return authority("ours")


@pytest.fixture(scope="module")
def secured(ours, tiny_bundle, start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("secrets")
    server = ours.issue("server", ["127.0.0.1"])
    for name, file in zip(("tls.pem", "tls.key", "ca.pem"), (*server, ours.pem), strict=True):
        shutil.copyfile(file, folder / name)
    (folder / "tenants.toml").write_text(TENANTS)
    flags = ("--tls-cert", "tls.pem", "--tls-key", "tls.key", "--tls-client-ca", "ca.pem", "--tenants", "tenants.toml")
    files = [str(folder / flag) if not flag.startswith("--") else flag for flag in flags]
    settings = {"server__reload_interval_s": LOOK_S, "server__health_listen": "127.0.0.1:0"}
    with start(tiny_bundle, "--draft", "off", *files, **settings) as sidecar:
        yield Secured(sidecar, folder, ours, server)


@pytest.fixture(scope="module")
def shop_b(ours):
    return ours.issue("shop-b", ["b.example", "spiffe://example/b"])


@pytest.fixture(scope="module")
def stranger(ours):
    """Signed by our authority, and no tenant."""
    return ours.issue("stranger", ["stranger.example"])


def test_a_certificate_names_its_tenant(secured, shop_b, wait_until):
    assert len(secured.ask(shop_b).items) == 5
    wait_until(lambda: secured.sidecar.events("request_finished", code="OK", tenant="shop-b"), WAIT_S)


def test_a_token_names_its_tenant_whatever_the_certificate_says(secured, stranger, shop_b, wait_until):
    for files in (stranger, shop_b):
        request_id = f"token-{files[0].stem}"
        assert len(secured.ask(files, (*bearer(TOKEN), ("x-request-id", request_id))).items) == 5
        told = {"request_id": request_id, "tenant": "shop-a"}
        wait_until(lambda told=told: secured.sidecar.events("request_finished", **told), WAIT_S)
    assert TOKEN not in "\n".join(secured.sidecar.lines)


@pytest.mark.parametrize(
    ("metadata", "expected", "said"),
    [
        (bearer("wrong"), "UNKNOWN_TOKEN", "the token is no tenant's"),
        (bearer(TOKEN + "x"), "UNKNOWN_TOKEN", "the token is no tenant's"),
        ((("authorization", TOKEN),), "MALFORMED_TOKEN", "the metadata must hold 'authorization' once"),
        ((("authorization", f"Basic {TOKEN}"),), "MALFORMED_TOKEN", "as 'Bearer TOKEN'"),
        ((*bearer(TOKEN), *bearer(TOKEN)), "MALFORMED_TOKEN", "once"),
    ],
)
def test_a_wrong_token_is_not_made_good_by_a_certificate(secured, shop_b, metadata, expected, said):
    error = secured.error(shop_b, metadata)
    assert reason(error) == expected
    assert said in error.details()
    assert TOKEN not in error.details()


def test_an_unknown_tenant_is_told_so_and_logged(secured, stranger, wait_until):
    error = secured.error(stranger, (("x-request-id", "unknown"),))
    assert reason(error) == "UNKNOWN_TENANT"
    assert error.details() == "the client certificate of 'stranger.example' is no tenant's"
    told = {"request_id": "unknown", "code": "UNAUTHENTICATED"}
    wait_until(lambda: secured.sidecar.events("request_finished", **told), WAIT_S)  # the caller may know before the log


def test_a_certificate_of_two_tenants_is_none_s(secured, ours):
    error = secured.error(ours.issue("both", ["b.example", "c.example"]))
    assert "belongs to several tenants, shop-b and shop-c" in error.details()


def test_the_common_name_counts_only_without_alternatives(secured, ours):
    assert len(secured.ask(ours.issue("b.example")).items) == 5
    assert reason(secured.error(ours.issue("c.example", ["other.example"]))) == "UNKNOWN_TENANT"


def test_the_handshake_refuses_callers_without_a_good_certificate(secured, ours, authority):
    theirs = authority("theirs").issue("shop-b", ["b.example"])
    expired = ours.issue("expired", ["b.example"], days=-1)
    for files in (None, theirs, expired):
        assert secured.error(files).code() is grpc.StatusCode.UNAVAILABLE
    assert not secured.sidecar.events("request_failed")


def test_callers_without_tls_and_callers_that_do_not_trust_us_get_nothing(secured, shop_b, authority):
    with grpc.insecure_channel(secured.sidecar.address) as channel, pytest.raises(grpc.RpcError) as caught:
        recommend(channel, timeout_s=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    error = secured.error(shop_b, trusted=authority("others").pem)
    assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_health_and_reflection_need_no_tenant_and_status_does(secured, stranger, shop_b):
    with secured.channel(stranger) as channel:
        assert health(channel) == health_pb2.HealthCheckResponse.SERVING
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (told,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request]), timeout=5)
        assert SERVICE in {service.name for service in told.list_services_response.service}
        with pytest.raises(grpc.RpcError) as caught:
            status_pb2_grpc.StatusServiceStub(channel).GetStatus(status_pb2.GetStatusRequest(), timeout=5)
        assert reason(caught.value) == "UNKNOWN_TENANT"
    with secured.channel(shop_b) as channel:
        assert status_pb2_grpc.StatusServiceStub(channel).GetStatus(status_pb2.GetStatusRequest(), timeout=5).workers


def test_probes_have_a_port_without_tls_that_tells_health_alone(secured):
    address = secured.sidecar.events("health_listening")[0]["address"]
    with grpc.insecure_channel(address) as channel:
        assert health(channel) == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            recommend(channel, timeout_s=5)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def health(channel):
    return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=5).status


def test_a_certificate_is_rotated_without_a_dropped_stream(secured, shop_b, wait_until):
    worker = secured.sidecar.worker("target-0")
    with secured.channel(shop_b) as channel, ThreadPoolExecutor(1) as pool:
        before = secured.shown(shop_b)
        worker.suspend()
        stream = pool.submit(recommend, channel)  # open all the time, for the worker says nothing
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        certificate, key = secured.ours.issue("renewed", ["127.0.0.1"])
        secured.install("tls.pem", certificate)  # between the two, key and certificate do not fit each other
        wait_until(lambda: refusals(secured, "is not the key of"), WAIT_S)
        assert secured.shown(shop_b) == before
        secured.install("tls.key", key)
        wait_until(lambda: secured.shown(shop_b) == der(certificate), WAIT_S)
        assert not stream.done()
        worker.resume()
        assert len(stream.result(30)[-1].final.items) == 5
        assert len(recommend(channel)[-1].final.items) == 5  # on the connection of before
        assert not watch.done()
        watch.cancel()
    assert len(secured.ask(shop_b).items) == 5
    assert secured.sidecar.events("certificates_reloaded")


@pytest.mark.parametrize("fault", ["expired", "junk", "missing"])
def test_a_certificate_that_turns_bad_leaves_the_old_one_and_a_line_in_the_log(secured, shop_b, wait_until, fault):
    good = (secured.folder / "tls.pem").read_bytes(), (secured.folder / "tls.key").read_bytes()
    before, lines = secured.shown(shop_b), len(refusals(secured, "tls.pem"))
    if fault == "expired":
        for name, file in zip(("tls.key", "tls.pem"), reversed(secured.ours.issue("late", days=-1)), strict=True):
            secured.install(name, file)
        wait_until(lambda: refusals(secured, "certificate has expired"), WAIT_S)
    elif fault == "junk":
        (secured.folder / "tls.pem").write_bytes(b"nothing")
        wait_until(lambda: refusals(secured, "holds no certificate"), WAIT_S)
    else:
        (secured.folder / "tls.pem").unlink()
        wait_until(lambda: refusals(secured, "No such file"), WAIT_S)
    assert secured.shown(shop_b) == before
    assert len(secured.ask(shop_b).items) == 5
    assert len(refusals(secured, "tls.pem")) > lines
    reloads = len(secured.sidecar.events("certificates_reloaded"))
    for name, content in zip(("tls.pem", "tls.key"), good, strict=True):
        (secured.folder / name).write_bytes(content)
    wait_until(lambda: len(secured.sidecar.events("certificates_reloaded")) > reloads, WAIT_S)


def test_a_new_authority_is_taken_over_and_the_old_ones_callers_are_out(secured, shop_b, authority, wait_until):
    theirs = authority("successor")
    newcomer = theirs.issue("newcomer", ["b.example"])
    assert secured.error(newcomer).code() is grpc.StatusCode.UNAVAILABLE
    reloads = len(secured.sidecar.events("certificates_reloaded"))
    with secured.channel(shop_b) as channel:
        assert recommend(channel)
        secured.install("ca.pem", theirs.pem)
        wait_until(lambda: len(secured.sidecar.events("certificates_reloaded")) > reloads, WAIT_S)
        assert len(secured.ask(newcomer).items) == 5
        assert secured.error(shop_b).code() is grpc.StatusCode.UNAVAILABLE
        assert recommend(channel)  # who is connected stays: nothing is dropped
    secured.install("ca.pem", secured.ours.pem)
    wait_until(lambda: len(secured.sidecar.events("certificates_reloaded")) > reloads + 1, WAIT_S)


def test_tenants_come_and_go_without_a_restart(secured, stranger, shop_b, wait_until):
    file = secured.folder / "tenants.toml"
    with secured.channel(shop_b) as channel:
        assert recommend(channel)
        file.write_text(section("shop-d", ["another"], ["stranger.example"]))
        wait_until(lambda: secured.sidecar.events("tenants_reloaded"), WAIT_S)
        with pytest.raises(grpc.RpcError) as caught:
            recommend(channel)  # at once, on the connection of before
        assert reason(caught.value) == "UNKNOWN_TENANT"
    assert len(secured.ask(stranger).items) == 5
    assert reason(secured.error(shop_b, bearer(TOKEN))) == "UNKNOWN_TOKEN"
    file.write_text("[shop-d]\ntokens = ['another']\n")
    wait_until(lambda: secured.sidecar.events("tenants_not_reloaded"), WAIT_S)
    assert "shop-d.tokens[0] must be 'sha256:'" in secured.sidecar.events("tenants_not_reloaded")[0]["reason"]
    assert len(secured.ask(shop_b, bearer("another")).items) == 5
    file.write_text(TENANTS)
    wait_until(lambda: len(secured.sidecar.events("tenants_reloaded")) > 1, WAIT_S)


def refusals(secured, reason):
    return [each for each in secured.sidecar.events("certificates_not_reloaded") if reason in each["reason"]]


def der(certificate):
    return ssl.PEM_cert_to_DER_cert(certificate.read_text())
