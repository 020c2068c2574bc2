"""@grpc/grpc-js, a gRPC stack of its own in JavaScript, compiles the protos itself and calls every method."""

from __future__ import annotations

import pytest

from sidebeam.v1 import knowledge_pb2, recommendation_pb2, status_pb2

pytestmark = pytest.mark.slow

RECOMMENDATION = "sidebeam.v1.RecommendationService"
KNOWLEDGE = "sidebeam.v1.KnowledgeService"
STATUS = "sidebeam.v1.StatusService"
HEALTH = "grpc.health.v1.Health"
HISTORY = {"item_ids": ["i3", "i17", "i40", "i5"]}


def test_these_are_all_methods_there_are():
    files = (knowledge_pb2, recommendation_pb2, status_pb2)
    services = [service for file in files for service in file.DESCRIPTOR.services_by_name.values()]
    methods = {(service.full_name, method.name) for service in services for method in service.methods}
    assert methods == {(RECOMMENDATION, "Recommend"), (KNOWLEDGE, "Generate"), (STATUS, "GetStatus")}


def test_a_recommendation_streams_its_events(grpc_js):
    told = grpc_js(RECOMMENDATION, "Recommend", {"history": HISTORY, "top_k": 5}, metadata={"x-request-id": "js-1"})
    assert (told["code"], told["text"]) == ("OK", "")
    assert told["trailing"]["x-request-id"] == "js-1"
    events = [message["event"] for message in told["messages"]]
    assert events[-1] == "final"
    assert set(events[:-1]) <= {"provisional", "beams"}
    depths = [message["beams"]["depth"] for message in told["messages"] if message["event"] == "beams"]
    assert depths
    assert depths == sorted(depths)
    final = told["messages"][-1]["final"]
    assert [item["rank"] for item in final["items"]] == [1, 2, 3, 4, 5]
    assert final["request_id"] == "js-1"
    assert final["scoring"] == "SCORING_RAW"


def test_the_answer_alone(grpc_js):
    told = grpc_js(RECOMMENDATION, "Recommend", {"history": HISTORY, "top_k": 5, "final_only": True})
    assert [message["event"] for message in told["messages"]] == ["final"]


def test_a_stream_that_is_left_early_is_cancelled(grpc_js):
    told = grpc_js(RECOMMENDATION, "Recommend", {"history": HISTORY, "top_k": 5}, stop_after=1)
    assert told["code"] == "CANCELLED"
    assert len(told["messages"]) == 1


def test_a_bad_request_names_every_field(grpc_js):
    request = {"history": {"item_ids": ["nobody"]}, "top_k": 100_000}
    told = grpc_js(RECOMMENDATION, "Recommend", request)
    assert told["code"] == "INVALID_ARGUMENT"
    (detail,) = told["details"]
    assert detail["type"] == "google.rpc.BadRequest"
    assert {each["field"] for each in detail["field_violations"]} == {"history.item_ids", "top_k"}


def test_a_deadline_that_cannot_be_met(grpc_js):
    told = grpc_js(RECOMMENDATION, "Recommend", {"history": HISTORY}, deadline_ms=1)
    assert told["code"] == "DEADLINE_EXCEEDED"
    assert told["messages"] == []


def test_a_text_streams_its_pieces(grpc_js):
    told = grpc_js(KNOWLEDGE, "Generate", {"prompt": "<a_1><b_2>", "max_new_tokens": 4})
    assert (told["code"], told["text"]) == ("OK", "")
    assert told["messages"][-1]["event"] == "summary"


def test_status(grpc_js):
    told = grpc_js(STATUS, "GetStatus")
    assert told["code"] == "OK"
    (status,) = told["messages"]
    assert status["state"] == "SERVING_STATE_SERVING"
    assert {worker["name"] for worker in status["workers"]} == {"target-0", "draft"}


@pytest.mark.parametrize("service", ["", RECOMMENDATION, KNOWLEDGE, "liveness"])
def test_health_is_checked(grpc_js, service):
    told = grpc_js(HEALTH, "Check", {"service": service})
    assert told["messages"] == [{"status": "SERVING"}]


def test_health_is_watched(grpc_js):
    told = grpc_js(HEALTH, "Watch", {"service": RECOMMENDATION}, stop_after=1)
    assert told["messages"] == [{"status": "SERVING"}]


def test_an_unknown_service_has_no_health(grpc_js):
    assert grpc_js(HEALTH, "Check", {"service": "nobody"})["code"] == "NOT_FOUND"


def test_mutual_tls_lets_in_who_shows_a_certificate(grpc_js, secure_address, pem):
    request = {"history": HISTORY, "top_k": 5, "final_only": True}
    files = {name: pem[name] for name in ("ca", "cert", "key")}
    told = grpc_js(RECOMMENDATION, "Recommend", request, to=secure_address, **files)
    assert told["code"] == "OK", told
    assert len(told["messages"][0]["final"]["items"]) == 5


def test_mutual_tls_refuses_who_shows_none(grpc_js, secure_address, pem):
    told = grpc_js(HEALTH, "Check", {}, to=secure_address, ca=pem["ca"], deadline_ms=5000)
    assert told["code"] in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
    assert told["messages"] == []


def test_mutual_tls_refuses_who_speaks_none(grpc_js, secure_address):
    told = grpc_js(HEALTH, "Check", {}, to=secure_address, deadline_ms=5000)
    assert told["code"] in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
    assert told["messages"] == []
