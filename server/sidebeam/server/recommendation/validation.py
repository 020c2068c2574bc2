"""What is wrong with a request: everything at once, each with its field, the value given and the limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sidebeam.bundle import Defaults
from sidebeam.catalog import Catalog
from sidebeam.server.config.config import LimitsConfig
from sidebeam.server.recommendation.edition import Edition
from sidebeam.server.refusals.findings import SHOWN, Findings, PromptRules, check_enum, check_temperature
from sidebeam.server.refusals.violation import Violation
from sidebeam.v1 import recommendation_pb2 as pb

Ints = npt.NDArray[np.int64]

CONTEXTS = ("history", "prompt", "tokens")
NO_ITEMS = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Rules:
    """All that a request is judged by."""

    edition: Edition
    defaults: Defaults
    limits: LimitsConfig
    vocab_size: int
    max_prompt_tokens: int

    @property
    def catalog(self) -> Catalog:
        """The edition's."""
        return self.edition.catalog

    @property
    def of_prompts(self) -> PromptRules:
        """What a prompt is judged by."""
        return PromptRules(
            self.edition.prompts.from_text, self.limits.max_prompt_chars, self.max_prompt_tokens, self.vocab_size
        )


@dataclass(slots=True)
class Reading(Findings):
    """A request in the server's words, as far as it could be read, and what is wrong with it."""

    prompt: list[int] = field(default_factory=list)
    top_k: int = 0
    excluded: Ints = field(default_factory=lambda: NO_ITEMS)  # ascending item indices without repeats


def violations(request: pb.RecommendRequest, rules: Rules) -> list[Violation]:
    """Everything that is wrong with a request; nothing if it can be answered."""
    return read(request, rules).violations


def read(request: pb.RecommendRequest, rules: Rules) -> Reading:
    """Read a request, noting all violations on the way."""
    reading = Reading()
    _read_context(request, rules, reading)
    _read_top_k(request, rules, reading)
    _read_exclusions(request, rules, reading)
    _check_draft(request.draft, rules, reading)
    check_enum("search", request.search, pb.Search, reading)
    check_enum("on_deadline", request.on_deadline, pb.OnDeadline, reading)
    _check_sampling(request, rules, reading)
    return reading


def _read_context(request: pb.RecommendRequest, rules: Rules, reading: Reading) -> None:
    given = [name for name in CONTEXTS if request.HasField(name)]
    if len(given) != 1:
        said = f"given {' and '.join(given)}" if given else "none given"
        for name in given or ("history",):
            reading.refuse(name, f"exactly one of {', '.join(CONTEXTS)} must be set; {said}")
    before = len(reading.violations)
    if "history" in given:
        _read_history(request.history.item_ids, rules, reading)
    if "prompt" in given:
        reading.prompt = rules.of_prompts.of_text(request.prompt, reading)
    if "tokens" in given:
        reading.prompt = rules.of_prompts.of_tokens(request.tokens.token_ids, reading)
    if len(given) != 1 or len(reading.violations) > before:
        reading.prompt = []


def _read_history(item_ids: Sequence[str], rules: Rules, reading: Reading) -> None:
    path, most = "history.item_ids", rules.limits.max_history_items
    if not item_ids:
        reading.refuse(path, "must name at least 1 item; given 0")
        return
    if len(item_ids) > most:
        reading.refuse(path, f"must name at most {most} items; given {len(item_ids)}")
        return
    items = _known_items(path, item_ids, rules, reading)
    if len(items) == len(item_ids):
        reading.prompt = rules.edition.prompts.from_items(items)  # type: ignore[arg-type]
        rules.of_prompts.check_length("history", reading.prompt, reading)


def _read_top_k(request: pb.RecommendRequest, rules: Rules, reading: Reading) -> None:
    most = min(rules.limits.max_top_k, rules.catalog.n_items)
    if not request.HasField("top_k"):
        reading.top_k = min(rules.defaults.top_k, most)
        return
    reading.top_k = request.top_k
    if request.top_k < 1:
        reading.refuse("top_k", f"must be at least 1; given {request.top_k}")
    elif request.top_k > rules.catalog.n_items:
        reading.refuse("top_k", f"must be at most the catalog's {rules.catalog.n_items} items; given {request.top_k}")
    elif request.top_k > most:
        reading.refuse("top_k", f"must be at most {most}; given {request.top_k}")


def _read_exclusions(request: pb.RecommendRequest, rules: Rules, reading: Reading) -> None:
    path, item_ids, most = "excluded_item_ids", request.excluded_item_ids, rules.limits.max_excluded_items
    if not item_ids:
        return
    if len(item_ids) > most:
        reading.refuse(path, f"must name at most {most} items; given {len(item_ids)}")
        return
    reading.excluded = np.unique(_known_items(path, item_ids, rules, reading))
    if len(reading.excluded) == rules.catalog.n_items:
        reading.refuse(path, f"must leave at least 1 item; all {rules.catalog.n_items} of the catalog are excluded")


def _check_draft(draft: pb.DraftSettings, rules: Rules, reading: Reading) -> None:
    modes_known = check_enum("draft.mode", draft.mode, pb.DraftMode, reading)
    check_enum("draft.drafter", draft.drafter, pb.Drafter, reading)
    if modes_known and draft.mode != pb.DRAFT_MODE_EXPLICIT:
        explicit = [name for name in ("beams", "length") if draft.HasField(name)]
        explicit += ["drafter"] if draft.drafter else []
        for name in explicit:
            value = getattr(draft, name)
            reading.refuse(f"draft.{name}", f"may be set only with mode DRAFT_MODE_EXPLICIT; given {value}")
    limits = (
        ("beams", rules.limits.max_draft_beams, "draft beams"),
        ("length", rules.catalog.depth, "tokens, the SIDs' length"),
    )
    for name, most, unit in limits:
        value = getattr(draft, name)
        if draft.HasField(name) and not 1 <= value <= most:
            reading.refuse(f"draft.{name}", f"must be 1 to {most} {unit}; given {value}")


def _check_sampling(request: pb.RecommendRequest, rules: Rules, reading: Reading) -> None:
    known = check_enum("verification", request.verification, pb.Verification, reading)
    if request.verification != pb.VERIFICATION_RELAXED:
        if known and request.HasField("sampling"):
            reading.refuse("sampling", "may be set only with verification VERIFICATION_RELAXED")
        return
    if request.search == pb.SEARCH_EXACT:
        reading.refuse("verification", "VERIFICATION_RELAXED goes with SEARCH_BEAM only; given SEARCH_EXACT")
    sampling = request.sampling
    if sampling.HasField("temperature"):
        check_temperature("sampling.temperature", sampling.temperature, reading)
    if 0 < sampling.top_k < reading.top_k:
        reading.refuse("sampling.top_k", f"must be 0, or at least top_k, {reading.top_k}; given {sampling.top_k}")


def _known_items(path: str, item_ids: Sequence[str], rules: Rules, reading: Reading) -> Ints:
    """Indices of the items that the catalog knows; the others are refused by name."""
    items = rules.catalog.item_indices(item_ids)
    unknown = np.flatnonzero(items < 0)
    if len(unknown):
        named = [f"{_shortened(item_ids[i])} at {i}" for i in unknown[:SHOWN].tolist()]
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        reading.refuse(path, f"must be in the catalog; unknown are {', '.join(named)}{more}")
    return items[items >= 0]


def _shortened(item_id: str, most: int = 64) -> str:
    return repr(item_id if len(item_id) <= most else item_id[:most] + "…")
