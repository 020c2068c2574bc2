"""Texts through the client, against a real server in another process."""

from __future__ import annotations

from typing import Any

import pytest

from sidebeam.client import (
    AsyncClient,
    Client,
    InvalidRequest,
    Relaxed,
    RelaxedToken,
    Sampled,
    ServerError,
    StageTimes,
    Text,
    TextDraft,
    TextPiece,
    Tier,
    Unavailable,
)
from sidebeam.v1 import knowledge_pb2 as pb
from sidebeam.v1 import recommendation_pb2

PIECES = [TextPiece("likes h", (5, 6)), TextPiece("äts", (7,)), TextPiece(".", (2,))]


async def sent(peer: Any, **arguments: Any) -> pb.GenerateRequest:
    """Return the request as the peer received it."""
    async with AsyncClient(peer.address) as client:
        text = await client.generate(prompt="echo", **arguments)
    return pb.GenerateRequest.FromString(bytes.fromhex(text.pools_version))


async def test_a_text_comes_with_all_that_it_cost(peer: Any) -> None:
    async with AsyncClient(peer.address) as client:
        text = await client.generate(tokens=[3], request_id="one-text")
    assert text == Text(
        text="likes häts.",
        tokens=(5, 6, 7, 2),
        stop="end",
        passes=2,
        rows=21,
        tiers={"entity": Tier(9, 7), "global": Tier(3, 0)},
        verification="relaxed",
        relaxed=(RelaxedToken(1, 6, 8, 2, 0.25, 0.5),),
        divergence=0.75,
        sampled=Sampled(0.5, None, 2**62),
        draft_note="pools: damaged",
        pools_version="3.141",
        times=StageTimes(1.0, 2.0, 3.0, 4.0, 5.5, 6.0, 17.0),
        request_id="one-text",
    )
    assert text.tokens_per_pass == 2.0


async def test_a_stream_yields_pieces_then_the_text(peer: Any) -> None:
    async with AsyncClient(peer.address) as client, client.stream_text(tokens=[3]) as events:
        *pieces, text = [event async for event in events]
    assert pieces == PIECES
    assert isinstance(text, Text)
    assert "".join(piece.text for piece in pieces) == text.text


def test_the_blocking_client_does_the_same(peer: Any) -> None:
    with Client(peer.address) as client:
        assert client.generate(tokens=[3]).text == "likes häts."
        with client.stream_text(tokens=[3]) as events:
            assert [type(event) for event in events] == [TextPiece] * 3 + [Text]


async def test_what_is_not_said_is_left_to_the_sidecar(peer: Any) -> None:
    assert await sent(peer) == pb.GenerateRequest(
        prompt="echo",
        verification=pb.TEXT_VERIFICATION_EXACT,
        draft=pb.TextDraftSettings(mode=recommendation_pb2.DRAFT_MODE_AUTO),
        summary_only=True,
    )


async def test_every_argument_reaches_the_sidecar(peer: Any) -> None:
    relaxed = await sent(
        peer, entity=7, group="hats", max_new_tokens=30, learn=True, draft="off",
        verification=Relaxed(3, 0, keep_protected=True, max_divergence=1.5),
    )  # fmt: skip
    assert relaxed == pb.GenerateRequest(
        prompt="echo",
        entity_id="7",
        group="hats",
        max_new_tokens=30,
        verification=pb.TEXT_VERIFICATION_RELAXED,
        relaxation=pb.Relaxation(k=3, p=0, keep_protected=True, max_divergence=1.5),
        draft=pb.TextDraftSettings(mode=recommendation_pb2.DRAFT_MODE_OFF),
        learn=True,
        summary_only=True,
    )
    sampled = await sent(peer, verification=Sampled(0.5, 40, 2**63 - 1), draft=TextDraft("explicit", 8, 4))
    assert sampled.sampling == pb.TextSampling(temperature=0.5, top_k=40, seed=2**63 - 1)
    assert sampled.draft == pb.TextDraftSettings(mode=recommendation_pb2.DRAFT_MODE_EXPLICIT, rows=8, depth=4)
    assert (await sent(peer, verification="sampled")).verification == pb.TEXT_VERIFICATION_SAMPLED


async def test_what_the_wire_cannot_carry_is_refused_all_at_once(peer: Any) -> None:
    async with AsyncClient(peer.address) as client:
        with pytest.raises(InvalidRequest) as caught:
            client.stream_text(
                prompt="\ud800",
                tokens=[-1],
                entity="\udfff",
                max_new_tokens=-1,
                verification=Relaxed(k=-2, p="high"),  # type: ignore[arg-type]
                draft=TextDraft("maybe", rows=2**32),  # type: ignore[arg-type]
                timeout_s=0,
            )
    assert [each.field for each in caught.value.violations] == [
        "prompt", "tokens.token_ids[0]", "entity_id", "max_new_tokens", "relaxation.k", "relaxation.p", "draft.mode",
        "draft.rows", "timeout_s",
    ]  # fmt: skip


async def test_leaving_the_block_cancels_the_call(peer: Any) -> None:
    async with AsyncClient(peer.address) as client:
        async with client.stream_text(prompt="endless", request_id="left-text") as events:
            assert await anext(events) == TextPiece("la ", (9,))
        peer.wait_for("cancelled left-text")


async def test_errors_are_those_of_recommendations(peer: Any) -> None:
    async with AsyncClient(peer.address) as client:
        with pytest.raises(InvalidRequest, match="1 problem") as caught:
            await client.generate(prompt="invalid")
        assert [each.field for each in caught.value.violations] == ["learn"]
        with pytest.raises(ServerError, match="without an answer"):
            await client.generate(prompt="no_answer")
        with pytest.raises(Unavailable) as lost:
            await client.generate(prompt="lost")
        assert lost.value.retry_after_s == 1.0
