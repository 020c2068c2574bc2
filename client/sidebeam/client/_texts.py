"""What a stream of a text yields: plain immutable values, made from the protos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sidebeam.client._events import StageTimes, stage_times, word
from sidebeam.client._text_request import Sampled
from sidebeam.v1 import knowledge_pb2 as pb


@dataclass(frozen=True, slots=True)
class TextPiece:
    """What one pass added: its tokens, and the text that can be read by now; either may be empty."""

    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RelaxedToken:
    """A token that was accepted though it is not the most likely one."""

    position: int
    """Tokens of the text before it."""
    token: int
    argmax: int
    """What greedy decoding would have written."""
    rank: int
    """1 + tokens that are more likely."""
    q: float
    """Its probability."""
    q_max: float
    """The most likely token's."""


@dataclass(frozen=True, slots=True)
class Tier:
    """Tokens drafted from one source, and those of them that are in the text."""

    drafted: int
    accepted: int


@dataclass(frozen=True, slots=True)
class Text:
    """The whole text and what it cost.

    `tokens` hold its end token, too. `stop` is "end", "max_new_tokens" or "model_length". `tiers` are by name:
    "request", "entity", "group", "global". `relaxed` are the tokens that are not the most likely ones, `divergence` the
    sum of their log(q_max / q). `sampled` says how tokens were drawn, with the seed; None: they were not. `draft_note`
    says why drafts were not made as they should have been, "" if they were. In `times`, `draft_ms` is part of
    `search_ms`.
    """

    text: str
    tokens: tuple[int, ...]
    stop: str
    passes: int
    rows: int
    tiers: Mapping[str, Tier]
    verification: str
    relaxed: tuple[RelaxedToken, ...]
    divergence: float
    sampled: Sampled | None
    draft_note: str
    pools_version: str
    times: StageTimes
    request_id: str

    @property
    def tokens_per_pass(self) -> float:
        """1 without drafts, but for the passes of a long prompt."""
        return len(self.tokens) / self.passes if self.passes else 0.0


TextEvent = TextPiece | Text
"""What a stream of a text yields: pieces in order, the Text last."""


def from_response(response: pb.GenerateResponse) -> TextEvent | None:
    """Return the event in `response`, None for a kind this version does not know."""
    kind = response.WhichOneof("event")
    if kind == "piece":
        return TextPiece(response.piece.text, tuple(response.piece.token_ids))
    if kind == "summary":
        return from_summary(response.summary, response.summary.request_id)
    return None


def from_summary(summary: pb.Summary, request_id: str) -> Text:
    """Return the text that `summary` carries."""
    drawn = summary.sampling
    return Text(
        text=summary.text,
        tokens=tuple(summary.token_ids),
        stop=word("TEXT_STOP_", summary.stop, pb.TextStop.items()),
        passes=summary.passes,
        rows=summary.rows,
        tiers={tier.name: Tier(tier.drafted, tier.accepted) for tier in summary.tiers},
        verification=word("TEXT_VERIFICATION_", summary.verification, pb.TextVerification.items()),
        relaxed=tuple(
            RelaxedToken(each.position, each.token_id, each.argmax_id, each.rank, each.q, each.q_max)
            for each in summary.relaxed
        ),
        divergence=summary.divergence,
        sampled=Sampled(drawn.temperature, drawn.top_k or None, drawn.seed) if summary.HasField("sampling") else None,
        draft_note=summary.draft_note,
        pools_version=summary.pools_version,
        times=stage_times(summary.times),
        request_id=request_id,
    )
