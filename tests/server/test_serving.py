"""Starting, not starting, health, reflection and the rate ceiling."""

from __future__ import annotations

import shutil
import socket
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from sidebeam.v1 import recommendation_pb2 as pb

SERVICE = "sidebeam.v1.RecommendationService"
HISTORY = pb.ItemHistory(item_ids=["i3"])
STATUS = health_pb2.HealthCheckResponse


def health(address, service):
    with grpc.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        return health_pb2_grpc.HealthStub(channel).Check(request, timeout=5, wait_for_ready=True).status


@pytest.mark.parametrize("service", ["", SERVICE, "liveness"])
def test_a_warm_sidecar_reports_serving(sidecar, service):
    assert health(sidecar.address, service) == STATUS.SERVING


def test_health_follows_the_targets(tiny_bundle, launch, wait_until):
    one = launch(tiny_bundle, "--draft", "off")
    wait_until(lambda: one.events("listening"), 30)
    address = one.events("listening")[0]["address"]
    assert health(address, SERVICE) == STATUS.NOT_SERVING
    assert health(address, "liveness") == STATUS.SERVING
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_stream(
            f"/{SERVICE}/Recommend", pb.RecommendRequest.SerializeToString, pb.RecommendResponse.FromString
        )
        with pytest.raises(grpc.RpcError) as caught:
            next(call(pb.RecommendRequest(history=HISTORY), timeout=5))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    one.wait_until_serving()
    assert health(address, SERVICE) == health(address, "") == STATUS.SERVING
    one.worker("target-0").kill()
    wait_until(lambda: health(address, SERVICE) == STATUS.NOT_SERVING, 10)
    wait_until(lambda: health(address, SERVICE) == STATUS.SERVING, 60)


def test_a_connection_ends_at_its_age_and_its_calls_finish(tiny_bundle, start, wait_until):
    with start(tiny_bundle, "--draft", "off", server__max_connection_age_s=0.5) as one:
        states = []
        with grpc.insecure_channel(one.address) as channel:
            channel.subscribe(states.append, try_to_connect=True)
            call = channel.unary_stream(
                f"/{SERVICE}/Recommend", pb.RecommendRequest.SerializeToString, pb.RecommendResponse.FromString
            )
            one.worker("target-0").suspend()
            open_call = call(pb.RecommendRequest(history=HISTORY), timeout=60)
            wait_until(lambda: grpc.ChannelConnectivity.IDLE in states[1:], 20)  # told to go, with a call still open
            one.worker("target-0").resume()
            *_, last = open_call
            assert len(last.final.items) == 5
            *_, again = call(pb.RecommendRequest(history=HISTORY), timeout=20)
            assert list(again.final.items) == list(last.final.items)


def test_reflection_tells_the_service(sidecar):
    with grpc.insecure_channel(sidecar.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (response,) = stub.ServerReflectionInfo(iter([request]), timeout=5)
        names = {service.name for service in response.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names


def test_the_rate_ceiling_refuses_with_a_delay(tiny_bundle, start, connect):
    limits = {"admission__requests_per_second": 5, "admission__max_wait_ms": 20}
    with start(tiny_bundle, "--draft", "off", **limits) as one:
        caller = connect(one)

        def code():
            try:
                caller.final(history=HISTORY)
            except grpc.RpcError as error:
                (status,) = [rpc_status.from_call(error)]
                retry, reason = error_details_pb2.RetryInfo(), error_details_pb2.ErrorInfo()
                assert status.details[0].Unpack(reason)
                assert status.details[1].Unpack(retry)
                assert reason.reason == "RATE_LIMITED"
                assert retry.retry_delay.ToMilliseconds() == 1000
                return error.code()
            return grpc.StatusCode.OK

        with ThreadPoolExecutor(20) as pool:
            codes = list(pool.map(lambda _: code(), range(20)))
    assert codes.count(grpc.StatusCode.OK) == 5
    assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 15


def test_a_full_house_refuses_at_once(tiny_bundle, start, connect):
    with start(tiny_bundle, "--draft", "off", limits__max_in_flight=2) as one:
        caller = connect(one)
        one.worker("target-0").suspend()
        with ThreadPoolExecutor(3) as pool:
            errors = list(pool.map(lambda _: caller.error(1.0, history=HISTORY).code(), range(3)))
        one.worker("target-0").resume()
        assert errors.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 1
        assert len(caller.final(history=HISTORY).items) == 5


def test_a_port_in_use_ends_with_code_2(sidecar, tiny_bundle, launch):
    second = launch(tiny_bundle, "--listen", sidecar.address)
    assert second.wait() == 2
    assert f"cannot listen on {sidecar.address}: the address is in use" in "\n".join(second.lines)


def test_a_bad_bundle_ends_with_code_2_and_all_its_problems(tmp_path, tiny_bundle, launch):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_bundle, broken)
    (broken / "target" / "model.safetensors").unlink()
    (broken / "items.json").unlink()
    one = launch(broken)
    assert one.wait() == 2
    said = "\n".join(one.lines)
    assert "items.json is missing" in said
    assert "model.safetensors" in said


def test_a_worker_that_refuses_the_model_ends_the_front_with_code_2(tiny_bundle, launch):
    one = launch(tiny_bundle, "--draft", "off", target__max_prompt_tokens=1000)
    assert one.process.wait(60) == 2
    one.wait()
    (refusal,) = one.events("worker_unfit", process="target-0")
    assert "max_prompt_tokens must be 1 to 61" in refusal["reason"]
    assert "the target-0 worker cannot run this bundle" in one.lines[-1]


def test_a_target_that_never_comes_up_ends_the_front_with_code_1(tmp_path, tiny_bundle, launch):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_bundle, broken)
    one = launch(broken, "--draft", "off", target__device="no-such-device", supervision__start_attempts=2)
    assert one.process.wait(90) == 1
    one.wait()
    assert one.events("worker_failed", process="target-0")
    assert "the target-0 worker ended 2 times before it was ready" in one.lines[-1]


def test_a_draft_with_another_vocabulary_ends_with_code_2(tmp_path, tiny_bundle, launch):
    from transformers import LlamaConfig, LlamaForCausalLM

    broken = tmp_path / "broken"
    shutil.copytree(tiny_bundle, broken)
    shutil.rmtree(broken / "draft")
    config = LlamaConfig(
        vocab_size=40, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(broken / "draft")
    one = launch(broken)
    assert one.process.wait(60) == 2
    one.wait()
    said = "\n".join(one.lines)
    assert "vocabulary" in said
    assert "40" in said
    assert "27" in said


def test_remote_workers_serve_by_address(tiny_bundle, sidecar, start, connect, caller):
    def address(name):
        command = sidecar.worker(name).cmdline()
        return command[command.index("--listen") + 1]

    settings = {"target__addresses": address("target-0"), "draft__address": address("draft")}
    with start(tiny_bundle, **settings) as one:
        assert not one.events("worker_exited")
        with pytest.raises(LookupError):
            one.worker("target-0")
        far, near = connect(one).final(history=HISTORY), caller.final(history=HISTORY)
        assert [item.item_id for item in far.items] == [item.item_id for item in near.items]
        assert one.stop() == 0
    assert len(caller.final(history=HISTORY).items) == 5


def test_a_unix_socket_is_an_address_too(tiny_bundle, start, connect, tmp_path):
    with start(tiny_bundle, "--draft", "off", "--listen", f"unix:{tmp_path}/s.sock") as one:
        assert one.address == f"unix:{tmp_path}/s.sock"
        assert len(connect(one).final(history=HISTORY).items) == 5


def test_two_fronts_never_share_a_port(tiny_bundle, launch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        one = launch(tiny_bundle, "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        assert one.wait() == 2
