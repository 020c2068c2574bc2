"""Between the workers' protobuf messages and the plain values of a text."""

from __future__ import annotations

import math
from collections.abc import Set
from typing import get_args

from sidebeam.knowledge.calibration import TIERS
from sidebeam.texts import Drafting, Exact, Relaxed, Sampled, TextPiece, TextResult, Verification
from sidebeam.texts.request import DraftMode, Stop
from sidebeam.v1 import knowledge_pb2
from sidebeam.worker.v1 import target_pb2
from sidebeam.workers.replayed import REPLAYED
from sidebeam.workers.wire import WireError

MODES: dict[int, DraftMode] = dict(enumerate(("auto", *get_args(DraftMode))))
STOPS: dict[Stop, knowledge_pb2.TextStop] = {
    "end": knowledge_pb2.TEXT_STOP_END,
    "max_new_tokens": knowledge_pb2.TEXT_STOP_MAX_NEW_TOKENS,
    "model_length": knowledge_pb2.TEXT_STOP_MODEL_LENGTH,
}
TIER_NAMES = (*TIERS, "replayed")
assert TIER_NAMES[REPLAYED] == "replayed"


def verification(message: target_pb2.WriteRequest) -> Verification:
    """Which tokens may be accepted. Raises ValueError for a value out of range."""
    kind = message.verification
    if kind == knowledge_pb2.TEXT_VERIFICATION_EXACT:
        return Exact()
    if kind == knowledge_pb2.TEXT_VERIFICATION_RELAXED:
        rule = message.relaxation
        most = rule.max_divergence if rule.HasField("max_divergence") else math.inf
        return Relaxed(rule.k, rule.p, rule.keep_protected, most)
    if kind == knowledge_pb2.TEXT_VERIFICATION_SAMPLED:
        draw = message.sampling
        return Sampled(draw.temperature, draw.top_k, draw.seed)
    raise WireError(f"verification has no value {kind}")


def drafting(message: target_pb2.WriteRequest) -> Drafting:
    """How the text is drafted. Raises ValueError for a value out of range."""
    asked = message.draft
    if asked.mode not in MODES:
        raise WireError(f"draft.mode has no value {asked.mode}")
    return Drafting(MODES[asked.mode], asked.rows, asked.depth) if asked.rows else Drafting(MODES[asked.mode])


def piece(event: TextPiece, ends: Set[int]) -> target_pb2.WriteResponse:
    """The event of a text that has grown."""
    tokens = event.tokens.tolist()
    return target_pb2.WriteResponse(piece=target_pb2.TextPiece(tokens=tokens, ended=tokens[-1] in ends))


def result(event: TextResult, draft_note: str, pools_version: str) -> target_pb2.WriteResponse:
    """The last event."""
    by_tier = zip(TIER_NAMES, event.drafted_by_tier, event.accepted_by_tier, strict=False)
    return target_pb2.WriteResponse(
        result=target_pb2.TextResult(
            tokens=event.tokens.tolist(),
            stop=STOPS[event.stop],
            passes=event.passes,
            rows=event.rows,
            tiers=[
                knowledge_pb2.Tier(name=name, drafted=drafted, accepted=accepted)
                for name, drafted, accepted in by_tier
                if drafted
            ],
            relaxed=[
                knowledge_pb2.RelaxedToken(
                    position=each.position,
                    token_id=each.token,
                    argmax_id=each.argmax,
                    rank=each.rank,
                    q=each.q,
                    q_max=each.q_max,
                )
                for each in event.relaxed
            ],
            divergence=event.divergence,
            draft_note=draft_note,
            pools_version=pools_version,
            queue_ns=event.queue_ns,
            pass_ns=event.pass_ns,
            draft_ns=event.draft_ns,
            host_ns=event.host_ns,
        )
    )
