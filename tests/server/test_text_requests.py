"""Bad requests for texts are told everything that is wrong with them."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from sidebeam.server.knowledge import knowledge_service, text_validation
from sidebeam.texts import Drafting, Relaxed
from sidebeam.texts.request import MOST_RANK
from sidebeam.texts.request import SEEDS as ENGINE_SEEDS
from sidebeam.v1 import knowledge_pb2 as kb
from sidebeam.v1 import recommendation_pb2 as pb

GOOD = {"prompt": "red boat"}
OFF = pb.DRAFT_MODE_OFF


@pytest.fixture(scope="module")
def poolless(text_bundle, start):
    with start(text_bundle) as one:
        yield one


@pytest.fixture(scope="module")
def asker(poolless, connect):
    return connect(poolless)


def violations(error):
    """(field, description) of each violation in the error's details."""
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    (detail,) = rpc_status.from_call(error).details
    bad_request = error_details_pb2.BadRequest()
    assert detail.Unpack(bad_request)
    return [(each.field, each.description) for each in bad_request.field_violations]


def relaxed(**fields):
    return {**GOOD, "verification": kb.TEXT_VERIFICATION_RELAXED, "relaxation": kb.Relaxation(**fields)}


def sampled(**fields):
    return {**GOOD, "verification": kb.TEXT_VERIFICATION_SAMPLED, "sampling": kb.TextSampling(**fields)}


def draft(**fields):
    return {**GOOD, "draft": kb.TextDraftSettings(**fields)}


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({}, "prompt", ["exactly one of", "none given"]),
        ({"prompt": ""}, "prompt", ["1 to", "given 0"]),
        ({"prompt": "red " * 500}, "prompt", ["at most 399 fit"]),
        ({"prompt": "x" * 70_000}, "prompt", ["65536", "70000"]),
        ({"tokens": pb.TokenPrompt()}, "tokens.token_ids", ["at least 1", "given 0"]),
        ({"tokens": pb.TokenPrompt(token_ids=[1, 99_999])}, "tokens.token_ids", ["99999 at 1", "vocabulary size"]),
        ({"tokens": pb.TokenPrompt(token_ids=[1] * 400)}, "tokens.token_ids", ["400 tokens", "at most 399"]),
        ({**GOOD, "entity_id": "e" * 1025}, "entity_id", ["1024", "1025"]),
        ({**GOOD, "group": "g" * 1025}, "group", ["1024", "1025"]),
        ({**GOOD, "max_new_tokens": 0}, "max_new_tokens", ["1 to 300", "given 0"]),
        ({**GOOD, "max_new_tokens": 301}, "max_new_tokens", ["1 to 300", "given 301"]),
        ({**GOOD, "verification": 9}, "verification", ["TEXT_VERIFICATION_EXACT", "given 9"]),
        ({**GOOD, "relaxation": kb.Relaxation(k=2)}, "relaxation", ["TEXT_VERIFICATION_RELAXED"]),
        ({**GOOD, "sampling": kb.TextSampling(seed=2)}, "sampling", ["TEXT_VERIFICATION_SAMPLED"]),
        (relaxed(k=0), "relaxation.k", ["1 to 64", "given 0"]),
        (relaxed(k=65), "relaxation.k", ["1 to 64", "given 65"]),
        (relaxed(p=1), "relaxation.p", ["below 1", "given 1"]),
        (relaxed(p=-0.1), "relaxation.p", ["at least 0", "-0.1"]),
        (relaxed(p=float("nan")), "relaxation.p", ["nan"]),
        (relaxed(max_divergence=-1), "relaxation.max_divergence", ["0 or more", "given -1"]),
        (sampled(temperature=0), "sampling.temperature", ["0.001 to 1000", "given 0"]),
        (sampled(temperature=float("inf")), "sampling.temperature", ["inf"]),
        (sampled(seed=2**63), "sampling.seed", ["2^63", str(2**63)]),
        (draft(mode=7), "draft.mode", ["DRAFT_MODE_AUTO", "given 7"]),
        (draft(mode=OFF, rows=4), "draft.rows", ["DRAFT_MODE_OFF", "given 4"]),
        (draft(rows=0), "draft.rows", ["1 to 256", "given 0"]),
        (draft(depth=257), "draft.depth", ["1 to 256", "given 257"]),
        ({**GOOD, "entity_id": "u1", "learn": True}, "learn", ["it has no pools"]),
    ],
)
def test_one_violation_names_field_value_and_limit(asker, fields, field, words):
    ((path, description),) = violations(asker.text_error(**fields))
    assert path == field
    for word in words:
        assert word in description


def test_all_violations_come_at_once_and_stand_in_the_message(asker):
    error = asker.text_error(
        prompt="red", tokens=pb.TokenPrompt(token_ids=[99_999]), max_new_tokens=0, learn=True,
        verification=kb.TEXT_VERIFICATION_RELAXED, relaxation=kb.Relaxation(k=0), sampling=kb.TextSampling(seed=1),
        draft=kb.TextDraftSettings(depth=0),
    )  # fmt: skip
    assert [path for path, _ in violations(error)] == [
        "prompt", "tokens", "tokens.token_ids", "max_new_tokens", "relaxation.k", "sampling", "draft.depth",
        "entity_id", "learn",
    ]  # fmt: skip
    for path, description in violations(error):
        assert f"{path}: {description}" in error.details()


def test_bad_requests_harm_nobody(asker, poolless):
    before = asker.text(**GOOD).text
    for _ in range(10):
        asker.text_error(prompt="")
    assert asker.text(**GOOD).text == before
    assert not poolless.events("request_failed")


def test_the_fronts_limits_are_the_engines():
    """The front holds no tensors, so it does not import the engine."""
    assert text_validation.RANKS == MOST_RANK
    assert text_validation.SEEDS == ENGINE_SEEDS
    assert (Drafting().rows, Drafting().depth) == (knowledge_service.ROWS, knowledge_service.DEPTH)
    assert (Relaxed().k, Relaxed().p) == (knowledge_service.K, knowledge_service.P)
