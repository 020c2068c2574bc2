"""Bad requests are told everything that is wrong with them, and harm nobody."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from sidebeam.v1 import recommendation_pb2 as pb

EXPLICIT = pb.DRAFT_MODE_EXPLICIT
GOOD = {"history": pb.ItemHistory(item_ids=["i1", "i2"])}


def violations(error):
    """(field, description) of each violation in the error's details."""
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    (detail,) = rpc_status.from_call(error).details
    bad_request = error_details_pb2.BadRequest()
    assert detail.Unpack(bad_request)
    return [(each.field, each.description) for each in bad_request.field_violations]


def draft(**fields):
    return {**GOOD, "draft": pb.DraftSettings(**fields)}


def relaxed(**fields):
    return {**GOOD, "verification": pb.VERIFICATION_RELAXED, **fields}


@pytest.mark.parametrize(
    ("request_fields", "field", "words"),
    [
        ({}, "history", ["exactly one of", "none given"]),
        ({"history": pb.ItemHistory()}, "history.item_ids", ["at least 1", "given 0"]),
        ({"history": pb.ItemHistory(item_ids=["i1", "??"])}, "history.item_ids", ["'??' at 1"]),
        ({"history": pb.ItemHistory(item_ids=list("pqrstu"))}, "history.item_ids", ["'p' at 0", "and 3 more"]),
        ({"prompt": ""}, "prompt", ["1 to", "given 0"]),
        ({"prompt": "<a_1>" * 80}, "prompt", ["81 tokens", "at most 61"]),
        ({"tokens": pb.TokenPrompt()}, "tokens.token_ids", ["at least 1", "given 0"]),
        ({"tokens": pb.TokenPrompt(token_ids=[1, 4, 27])}, "tokens.token_ids", ["below", "27", "27 at 2"]),
        ({"tokens": pb.TokenPrompt(token_ids=[1] * 62)}, "tokens.token_ids", ["62 tokens", "at most 61"]),
        ({**GOOD, "top_k": 0}, "top_k", ["at least 1", "given 0"]),
        ({**GOOD, "top_k": 61}, "top_k", ["60 items", "given 61"]),
        ({**GOOD, "excluded_item_ids": ["i1", "no"]}, "excluded_item_ids", ["'no' at 1"]),
        ({**GOOD, "excluded_item_ids": [f"i{n}" for n in range(60)]}, "excluded_item_ids", ["at least 1 item", "60"]),
        (draft(beams=4), "draft.beams", ["DRAFT_MODE_EXPLICIT", "given 4"]),
        (draft(mode=pb.DRAFT_MODE_OFF, length=2), "draft.length", ["DRAFT_MODE_EXPLICIT", "given 2"]),
        (draft(drafter=pb.DRAFTER_CATALOG), "draft.drafter", ["DRAFT_MODE_EXPLICIT"]),
        (draft(mode=EXPLICIT, beams=0), "draft.beams", ["1 to 200", "given 0"]),
        (draft(mode=EXPLICIT, beams=201), "draft.beams", ["1 to 200", "given 201"]),
        (draft(mode=EXPLICIT, length=0), "draft.length", ["1 to 4", "given 0"]),
        (draft(mode=EXPLICIT, length=5), "draft.length", ["1 to 4", "given 5"]),
        (draft(mode=17), "draft.mode", ["DRAFT_MODE_AUTO", "given 17"]),
        (draft(mode=EXPLICIT, drafter=9), "draft.drafter", ["DRAFTER_MODEL", "given 9"]),
        ({**GOOD, "search": 8}, "search", ["SEARCH_EXACT", "given 8"]),
        ({**GOOD, "verification": 7}, "verification", ["VERIFICATION_RELAXED", "given 7"]),
        ({**GOOD, "sampling": pb.Sampling(seed=1)}, "sampling", ["VERIFICATION_RELAXED"]),
        (relaxed(search=pb.SEARCH_EXACT), "verification", ["SEARCH_BEAM", "SEARCH_EXACT"]),
        (relaxed(sampling=pb.Sampling(temperature=0)), "sampling.temperature", ["0.001 to 1000", "given 0"]),
        (relaxed(sampling=pb.Sampling(temperature=-1)), "sampling.temperature", ["0.001 to 1000", "given -1"]),
        (relaxed(sampling=pb.Sampling(temperature=float("nan"))), "sampling.temperature", ["1000", "nan"]),
        (relaxed(sampling=pb.Sampling(top_k=4)), "sampling.top_k", ["at least top_k, 5", "given 4"]),
    ],
)
def test_one_violation_names_field_value_and_limit(caller, request_fields, field, words):
    ((path, description),) = violations(caller.error(**request_fields))
    assert path == field
    for word in words:
        assert word in description


def test_two_contexts_at_once_are_both_named(caller):
    found = violations(caller.error(**GOOD, prompt="<a_1>"))
    assert [path for path, _ in found] == ["history", "prompt"]
    assert all("given history and prompt" in description for _, description in found)


def test_all_violations_come_at_once_and_stand_in_the_message(caller):
    error = caller.error(
        history=pb.ItemHistory(item_ids=["nope"]),
        top_k=999,
        excluded_item_ids=["neither"],
        draft=pb.DraftSettings(mode=EXPLICIT, beams=0, length=99),
        search=3,
    )
    fields = [path for path, _ in violations(error)]
    assert fields == ["history.item_ids", "top_k", "excluded_item_ids", "draft.beams", "draft.length", "search"]
    for path, description in violations(error):
        assert f"{path}: {description}" in error.details()


def test_a_message_over_the_limit_is_refused(caller):
    error = caller.error(prompt="x" * (5 << 20))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in error.details()


def test_a_long_text_is_refused_before_it_is_tokenized(caller):
    ((path, description),) = violations(caller.error(prompt="x" * (1 << 20)))
    assert path == "prompt"
    assert "65536" in description
    assert "1048576" in description


def test_bad_requests_never_reach_a_worker(sidecar, caller):
    before = len(sidecar.events("request_failed"))
    for _ in range(20):
        caller.error(history=pb.ItemHistory(item_ids=["nope"]))
    assert len(sidecar.events("request_failed")) == before
    assert len(caller.final(**GOOD).items) == 5


def test_an_unfit_request_id_is_replaced(caller):
    call = caller.stub.Recommend(pb.RecommendRequest(**GOOD), metadata=(("x-request-id", "a" * 500),), timeout=20)
    assert len(list(call)[-1].final.request_id) == 32
