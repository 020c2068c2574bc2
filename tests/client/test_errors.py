"""Each status on the wire becomes the one error that says it; what cannot be sent never leaves."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from google.rpc import code_pb2

from sidebeam.client import (
    AsyncClient,
    Draft,
    InvalidRequest,
    MessageTooLarge,
    Overloaded,
    Sampling,
    ServerError,
    SidebeamError,
    TryAgain,
    Unauthenticated,
    Unavailable,
    Violation,
)


async def failure(address: str, **arguments: Any) -> SidebeamError:
    """Return the error that a call ends with."""
    async with AsyncClient(address) as client:
        with pytest.raises(SidebeamError) as caught:
            await client.recommend(**arguments)
    return caught.value


async def test_invalid_argument_names_every_field(peer: Any) -> None:
    error = await failure(peer.address, prompt="invalid", request_id="bad")
    assert isinstance(error, InvalidRequest)
    assert error.violations == (
        Violation("history.item_ids[1]", "no item '99' in the catalog"),
        Violation("top_k", "0 is below 1"),
    )
    assert (str(error), error.code.name, error.request_id) == ("2 problems", "INVALID_ARGUMENT", "bad")


async def test_overload_says_when_to_come_back(peer: Any) -> None:
    error = await failure(peer.address, prompt="overloaded")
    assert isinstance(error, Overloaded)
    assert (str(error), error.retry_after_s) == ("no room", 1.25)


async def test_a_sidecar_that_shuts_down_is_unavailable(peer: Any) -> None:
    error = await failure(peer.address, prompt="draining")
    assert isinstance(error, Unavailable)
    assert isinstance(error, TryAgain)
    assert (str(error), error.retry_after_s) == (f"{peer.address}: shutting down", 3.0)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (code_pb2.INVALID_ARGUMENT, InvalidRequest),
        (code_pb2.RESOURCE_EXHAUSTED, Overloaded),
        (code_pb2.UNAVAILABLE, Unavailable),
        (code_pb2.INTERNAL, ServerError),
        (code_pb2.UNKNOWN, ServerError),
        (code_pb2.FAILED_PRECONDITION, ServerError),
        (code_pb2.UNIMPLEMENTED, ServerError),
        (code_pb2.UNAUTHENTICATED, Unauthenticated),
    ],
)
async def test_a_bare_status_becomes_its_error(peer: Any, code: int, kind: type[SidebeamError]) -> None:
    error = await failure(peer.address, prompt=f"status {code}", request_id="bare")
    assert type(error) is kind
    assert (error.code.name, error.request_id) == (code_pb2.Code.Name(code), "bare")
    assert "as asked" in str(error)


async def test_contradicting_details_are_not_believed(peer: Any) -> None:
    error = await failure(peer.address, prompt="contradicting")
    assert isinstance(error, InvalidRequest)
    assert (str(error), error.violations) == ("one thing", ())


async def test_a_request_over_the_sidecars_limit_is_told_from_overload(peer: Any) -> None:
    error = await failure(peer.address, tokens=[300_000_000] * 20_000)
    assert isinstance(error, MessageTooLarge)
    assert "65536" in str(error)


async def test_an_answer_over_the_clients_limit_is_told_from_overload(peer: Any) -> None:
    async with AsyncClient(peer.address, channel_args=[("grpc.max_receive_message_length", 5_000)]) as client:
        with pytest.raises(MessageTooLarge, match="5000"):
            await client.recommend(prompt="many 1000")


async def test_all_that_cannot_be_sent_is_refused_at_once_and_before_sending(peer: Any) -> None:
    peer.said()
    error = await failure(
        peer.address,
        history="12,55",
        tokens=[1, -2, 2**32, "x"],
        prompt="half \ud800 a pair",
        top_k=-1,
        exclude=["7", "\udfff"],
        draft=Draft(beams=-3, length=2.5, drafter="oracle"),  # type: ignore[arg-type]
        search="greedy",
        sampling=Sampling("hot", top_k=-1, seed=2**32),  # type: ignore[arg-type]
        timeout_s=0,
        request_id="two\nlines",
    )
    assert isinstance(error, InvalidRequest)
    assert [violation.field for violation in error.violations] == [
        "history.item_ids",
        "prompt",
        "tokens.token_ids[1]",
        "tokens.token_ids[2]",
        "tokens.token_ids[3]",
        "top_k",
        "excluded_item_ids[1]",
        "search",
        "sampling.temperature",
        "sampling.top_k",
        "sampling.seed",
        "draft.drafter",
        "draft.beams",
        "draft.length",
        "timeout_s",
        "request_id",
    ]
    assert "-2 is not within 0 to 4294967295" in str(error)
    assert "'greedy' is not one of beam, exact" in str(error)
    assert peer.said() == []


@pytest.mark.parametrize("request_id", ["", " padded", "x" * 129, "Ω"])
async def test_request_ids_must_fit_in_a_header(peer: Any, request_id: str) -> None:
    error = await failure(peer.address, history=["12"], request_id=request_id)
    assert isinstance(error, InvalidRequest)
    assert [violation.field for violation in error.violations] == ["request_id"]


async def test_an_unknown_draft_mode_is_refused(peer: Any) -> None:
    error = await failure(peer.address, history=["12"], draft="always")
    assert str(error) == "draft.mode: 'always' is not one of auto, off"


async def test_an_unknown_argument_is_a_type_error(peer: Any) -> None:
    async with AsyncClient(peer.address) as client:
        with pytest.raises(TypeError, match="topk"):
            await client.recommend(topk=3)  # type: ignore[call-arg]


async def test_errors_survive_pickling(peer: Any) -> None:
    for prompt in ("invalid", "overloaded", "status 13"):
        error = await failure(peer.address, prompt=prompt)
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert vars(copy) == vars(error)
        assert str(copy) == str(error)
