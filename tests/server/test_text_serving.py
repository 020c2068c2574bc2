"""Which services a sidecar has depends on its bundle."""

from __future__ import annotations

import shutil

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from sidebeam.client import Client, ServerError
from sidebeam.v1 import recommendation_pb2 as pb

pytestmark = pytest.mark.slow  # a sidecar for nearly every test

RECOMMENDATION, KNOWLEDGE = "sidebeam.v1.RecommendationService", "sidebeam.v1.KnowledgeService"
SERVING = health_pb2.HealthCheckResponse.SERVING
HISTORY = pb.ItemHistory(item_ids=["i3"])


def health(address, service):
    """The service's state, or the code of the error."""
    with grpc.insecure_channel(address) as channel:
        try:
            request = health_pb2.HealthCheckRequest(service=service)
            return health_pb2_grpc.HealthStub(channel).Check(request, timeout=5, wait_for_ready=True).status
        except grpc.RpcError as error:
            return error.code()


def services(address):
    with grpc.insecure_channel(address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (response,) = stub.ServerReflectionInfo(iter([request]), timeout=5)
        return {service.name for service in response.list_services_response.service}


def test_a_bundle_of_both_serves_both(both_bundle, start, connect):
    with start(both_bundle, "--draft", "off") as one:
        assert {RECOMMENDATION, KNOWLEDGE} <= services(one.address)
        assert health(one.address, KNOWLEDGE) == health(one.address, RECOMMENDATION) == SERVING
        caller = connect(one)
        assert len(caller.final(history=HISTORY).items) == 5
        text = caller.text(prompt="<a_1>")
        assert text.text
        assert not text.tiers  # drafts are off for everybody
        error = caller.text_error(prompt="<a_1>", entity_id="u1", learn=True)
        assert "it drafts nothing" in error.details()


def test_a_bundle_without_a_catalog_writes_texts_alone(text_bundle, start, connect):
    with start(text_bundle) as one:
        assert KNOWLEDGE in services(one.address)
        assert RECOMMENDATION not in services(one.address)
        assert health(one.address, KNOWLEDGE) == health(one.address, "") == SERVING
        assert health(one.address, RECOMMENDATION) is grpc.StatusCode.NOT_FOUND
        caller = connect(one)
        error = caller.error(history=HISTORY)
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "the sidecar's bundle has no [catalog]" in error.details()
        with Client(one.address) as client:
            client.wait_until_ready(10)
            text = client.generate(prompt="red boat", max_new_tokens=20)
            assert text.text == caller.text(prompt="red boat", max_new_tokens=20).text
            with client.stream_text(prompt="red boat") as events:
                *pieces, last = events
            assert "".join(piece.text for piece in pieces) == last.text
        with pytest.raises(LookupError):
            one.worker("draft")  # it would have nothing to do
        assert one.stop() == 0


def test_a_bundle_without_texts_recommends_alone(sidecar, caller):
    assert KNOWLEDGE not in services(sidecar.address)
    assert health(sidecar.address, KNOWLEDGE) is grpc.StatusCode.NOT_FOUND
    error = caller.text_error(prompt="<a_1>")
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "the sidecar's bundle has no [texts]" in error.details()
    with Client(sidecar.address) as client, pytest.raises(ServerError, match="no \\[texts\\]"):
        client.generate(prompt="<a_1>")


def test_pools_without_texts_end_with_code_2(tiny_bundle, tmp_path, launch):
    one = launch(tiny_bundle, "--pools", str(tmp_path))
    assert one.wait() == 2
    assert f"it has no [texts], so pools are of no use; given {tmp_path}" in "\n".join(one.lines)


def test_the_bundle_may_name_its_pools(text_bundle, tmp_path, start, connect, wait_until):
    bundle = shutil.copytree(text_bundle, tmp_path / "bundle")
    with (bundle / "sidebeam.toml").open("a") as file:
        file.write('pools = "earlier"\n')
    with start(bundle) as one:
        caller = connect(one)
        note = caller.text(prompt="red boat").draft_note
        assert f"{bundle / 'earlier'}: no such folder" in note
        caller.text(prompt="red boat", entity_id="u1", learn=True)
        wait_until(lambda: one.events("pools_open", process="target-0"), 60)
        assert caller.text(prompt="red boat").draft_note == ""
    assert (bundle / "earlier" / "manifest.json").is_file()
