"""What is wrong with a request for a text: everything at once, each with its field, the value given and the limit."""

from __future__ import annotations

from dataclasses import dataclass, field

from sidebeam.server.refusals.findings import Findings, PromptRules, check_enum, check_temperature
from sidebeam.v1 import knowledge_pb2 as pb
from sidebeam.v1 import recommendation_pb2

CONTEXTS = ("prompt", "tokens")
NAME_CHARS = 1024  # of an entity or a group: pools keep them
RANKS = 64  # of a relaxed token: the engine looks at no more
SEEDS = 2**63
MOST_DRAFTED = 256  # rows and depth: half a pass


@dataclass(frozen=True, slots=True)
class TextRules:
    """All that a request for a text is judged by. `no_learning` says why nothing can be learned; "": it can."""

    of_prompts: PromptRules
    max_new_tokens: int
    no_learning: str


@dataclass(slots=True)
class TextReading(Findings):
    """A request in the server's words, as far as it could be read, and what is wrong with it."""

    prompt: list[int] = field(default_factory=list)
    max_new_tokens: int = 0


def read(request: pb.GenerateRequest, rules: TextRules) -> TextReading:
    """Read a request, noting all violations on the way."""
    reading = TextReading()
    _read_context(request, rules, reading)
    for name in ("entity_id", "group"):
        length = len(getattr(request, name))
        if length > NAME_CHARS:
            reading.refuse(name, f"must have at most {NAME_CHARS} characters; given {length}")
    reading.max_new_tokens = request.max_new_tokens if request.HasField("max_new_tokens") else rules.max_new_tokens
    if not 1 <= reading.max_new_tokens <= rules.max_new_tokens:
        reading.refuse("max_new_tokens", f"must be 1 to {rules.max_new_tokens}; given {request.max_new_tokens}")
    if check_enum("verification", request.verification, pb.TextVerification, reading):
        _check_relaxation(request, reading)
        _check_sampling(request, reading)
    _check_draft(request.draft, reading)
    _check_learning(request, rules, reading)
    return reading


def _read_context(request: pb.GenerateRequest, rules: TextRules, reading: TextReading) -> None:
    given = [name for name in CONTEXTS if request.HasField(name)]
    if len(given) != 1:
        said = f"given {' and '.join(given)}" if given else "none given"
        for name in given or ("prompt",):
            reading.refuse(name, f"exactly one of {', '.join(CONTEXTS)} must be set; {said}")
    if "prompt" in given:
        reading.prompt = rules.of_prompts.of_text(request.prompt, reading)
    if "tokens" in given:
        reading.prompt = rules.of_prompts.of_tokens(request.tokens.token_ids, reading)


def _check_relaxation(request: pb.GenerateRequest, reading: TextReading) -> None:
    rule = request.relaxation
    if request.verification != pb.TEXT_VERIFICATION_RELAXED:
        if request.HasField("relaxation"):
            reading.refuse("relaxation", "may be set only with verification TEXT_VERIFICATION_RELAXED")
        return
    if rule.HasField("k") and not 1 <= rule.k <= RANKS:
        reading.refuse("relaxation.k", f"must be 1 to {RANKS}; given {rule.k}")
    if rule.HasField("p") and not 0 <= rule.p < 1:
        reading.refuse("relaxation.p", f"must be at least 0 and below 1; given {rule.p:g}")
    if rule.HasField("max_divergence") and not rule.max_divergence >= 0:
        reading.refuse("relaxation.max_divergence", f"must be 0 or more; given {rule.max_divergence:g}")


def _check_sampling(request: pb.GenerateRequest, reading: TextReading) -> None:
    draw = request.sampling
    if request.verification != pb.TEXT_VERIFICATION_SAMPLED:
        if request.HasField("sampling"):
            reading.refuse("sampling", "may be set only with verification TEXT_VERIFICATION_SAMPLED")
        return
    if draw.HasField("temperature"):
        check_temperature("sampling.temperature", draw.temperature, reading)
    if draw.seed >= SEEDS:
        reading.refuse("sampling.seed", f"must be below 2^63, {SEEDS}; given {draw.seed}")


def _check_draft(draft: pb.TextDraftSettings, reading: TextReading) -> None:
    check_enum("draft.mode", draft.mode, recommendation_pb2.DraftMode, reading)
    given = [(name, getattr(draft, name)) for name in ("rows", "depth") if draft.HasField(name)]
    for name, value in given:
        if draft.mode == recommendation_pb2.DRAFT_MODE_OFF:
            reading.refuse(f"draft.{name}", f"must not be set with mode DRAFT_MODE_OFF; given {value}")
        elif not 1 <= value <= MOST_DRAFTED:
            reading.refuse(f"draft.{name}", f"must be 1 to {MOST_DRAFTED} tokens; given {value}")


def _check_learning(request: pb.GenerateRequest, rules: TextRules, reading: TextReading) -> None:
    if not request.learn:
        return
    if not request.entity_id:
        reading.refuse("entity_id", "must not be empty with learn: a text is learned as its entity's; given ''")
    if rules.no_learning:
        reading.refuse("learn", f"must not be set here: {rules.no_learning}")
