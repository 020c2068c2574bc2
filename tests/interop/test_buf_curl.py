"""`buf curl`, a gRPC stack of its own in Go, learns the API by reflection and calls every method."""

from __future__ import annotations

import base64

import pytest
from google.rpc import error_details_pb2

pytestmark = pytest.mark.slow

HISTORY = {"itemIds": ["i3", "i17", "i40", "i5"]}
RECOMMEND = "sidebeam.v1.RecommendationService/Recommend"


def test_reflection_lists_every_method(buf_curl):
    code, listed, _ = buf_curl("", None, "--list-methods")
    assert code == 0
    methods = set(listed[0]["text"].split())
    assert {
        RECOMMEND,
        "sidebeam.v1.KnowledgeService/Generate",
        "sidebeam.v1.StatusService/GetStatus",
        "grpc.health.v1.Health/Check",
        "grpc.health.v1.Health/Watch",
    } <= methods


def test_a_recommendation_streams_its_events(buf_curl):
    code, messages, failure = buf_curl(RECOMMEND, {"history": HISTORY, "topK": 5})
    assert code == 0, failure
    kinds = [next(iter(message)) for message in messages]
    assert kinds[-1] == "final"
    assert set(kinds[:-1]) <= {"provisional", "beams"}
    assert [item["rank"] for item in messages[-1]["final"]["items"]] == [1, 2, 3, 4, 5]


def test_a_bad_request_names_every_field(buf_curl):
    code, messages, failure = buf_curl(RECOMMEND, {"history": {"itemIds": ["nobody"]}, "topK": 100_000})
    assert code != 0
    assert messages == []
    assert failure["code"] == "invalid_argument"
    (detail,) = failure["details"]
    assert detail["type"] == "google.rpc.BadRequest"
    bad = error_details_pb2.BadRequest.FromString(base64.b64decode(detail["value"] + "=="))
    assert {each.field for each in bad.field_violations} == {"history.item_ids", "top_k"}


def test_a_text_streams_its_pieces(buf_curl):
    request = {"prompt": "<a_1><b_2>", "maxNewTokens": 4}
    code, messages, failure = buf_curl("sidebeam.v1.KnowledgeService/Generate", request)
    assert code == 0, failure
    assert "summary" in messages[-1]


def test_status(buf_curl):
    code, (status,), failure = buf_curl("sidebeam.v1.StatusService/GetStatus", {})
    assert code == 0, failure
    assert status["state"] == "SERVING_STATE_SERVING"


@pytest.mark.parametrize(
    "service", ["", "sidebeam.v1.RecommendationService", "sidebeam.v1.KnowledgeService", "liveness"]
)
def test_health_is_checked(buf_curl, service):
    code, messages, failure = buf_curl("grpc.health.v1.Health/Check", {"service": service})
    assert (code, messages) == (0, [{"status": "SERVING"}]), failure


def test_an_unknown_service_has_no_health(buf_curl):
    code, _, failure = buf_curl("grpc.health.v1.Health/Check", {"service": "nobody"})
    assert code != 0
    assert failure["code"] == "not_found"
