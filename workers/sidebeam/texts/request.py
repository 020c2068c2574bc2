"""What is asked of a text, and what it answers: plain values, shared by engine, workers and benchmarks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from sidebeam.texts.drafter import TextDrafter

Ints = npt.NDArray[np.int64]

MOST_RANK = 64  # of a relaxed token: beyond some tens, the floor decides alone
MOST_ROWS, MOST_DEPTH = 64, 32  # drafted in one pass, unless a request says otherwise
SEEDS = 2**63

DraftMode = Literal["auto", "off", "explicit"]

Stop = Literal["end", "max_new_tokens", "model_length"]
"""Why a text stopped: at an end token, at the request's limit, or where the model's positions or KV cells end."""


@dataclass(frozen=True, slots=True)
class Exact:
    """Greedy decoding: a drafted token is accepted iff it is the most likely one (lowest id among equals)."""


@dataclass(frozen=True, slots=True)
class Relaxed:
    """LASER's rule (Eq. 8): accepted is the most likely token, or one among the `k` likeliest with probability > `p`.

    `k` 1 is `Exact`. Where an end token is the most likely one, or ends have a probability > `p` together, nothing but
    the most likely token is accepted; with a `p` of 0 that is almost everywhere. `keep_protected`: nor is anything else
    where this or the drafted token is protected by the vocabulary. `max_divergence` bounds the text's sum of
    log(q_max / q) over tokens other than the most likely one.
    Raises ValueError for a field out of range.
    """

    k: int = 2
    p: float = 0.1
    keep_protected: bool = False
    max_divergence: float = math.inf

    def __post_init__(self) -> None:
        if not 1 <= self.k <= MOST_RANK:
            raise ValueError(f"k must be 1 to {MOST_RANK}; given {self.k}")
        if not 0 <= self.p < 1:
            raise ValueError(f"p must be at least 0 and below 1; given {self.p}")
        if not self.max_divergence >= 0:
            raise ValueError(f"max_divergence must be 0 or more; given {self.max_divergence}")


@dataclass(frozen=True, slots=True)
class Sampled:
    """Each token is drawn with probability proportional to exp(logit / `temperature`), among the `top_k` likeliest.

    `top_k` 0: among all. The same seed draws the same text, whatever is drafted. Raises ValueError for a field out of
    range.
    """

    temperature: float = 1.0
    top_k: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be above 0 and finite; given {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be 0 or more; given {self.top_k}")
        if not 0 <= self.seed < SEEDS:
            raise ValueError(f"seed must be 0 to 2**63 - 1; given {self.seed}")


Verification = Exact | Relaxed | Sampled


@dataclass(frozen=True, slots=True)
class Drafting:
    """How one text is drafted; changes no exact and no sampled text.

    `auto` drafts as much as is expected to pay, `off` nothing, `explicit` whatever the drafter has; `auto` and
    `explicit` at most `rows` tokens in a pass, and `depth` in a row. Raises ValueError for a field out of range.
    """

    mode: DraftMode = "auto"
    rows: int = MOST_ROWS
    depth: int = MOST_DEPTH

    def __post_init__(self) -> None:
        for name, value in (("rows", self.rows), ("depth", self.depth)):
            if value < 1:
                raise ValueError(f"{name} must be 1 or more; given {value}; mode off drafts nothing")


@dataclass(frozen=True, slots=True)
class TextRequest:
    """One text. `prompt` holds token ids; `drafter` None: nothing is drafted.

    Raises ValueError for an empty prompt, or no tokens to write.
    """

    prompt: Ints  # [P]
    max_new_tokens: int
    verification: Verification = field(default_factory=Exact)
    drafter: TextDrafter | None = None
    drafting: Drafting = field(default_factory=Drafting)

    def __post_init__(self) -> None:
        if self.prompt.ndim != 1 or not len(self.prompt):
            raise ValueError(f"prompt must be a row of at least 1 token; given shape {self.prompt.shape}")
        if not np.issubdtype(self.prompt.dtype, np.integer):
            raise ValueError(f"prompt must hold integers; given {self.prompt.dtype}")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be 1 or more; given {self.max_new_tokens}")


@dataclass(frozen=True, slots=True)
class RelaxedToken:
    """A token that was accepted though it is not the most likely one."""

    position: int  # tokens of the text before it
    token: int
    argmax: int  # what greedy decoding would have written there
    rank: int  # 1 + tokens with a strictly larger logit
    q: float
    q_max: float

    @property
    def divergence(self) -> float:
        """log(q_max / q): what it adds to the text's divergence."""
        return math.log(self.q_max / self.q)


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Tokens that one pass added to the text."""

    tokens: Ints  # [n], n >= 1


@dataclass(frozen=True, slots=True)
class TextResult:
    """The text and what it cost. Times are nanoseconds; the end token, if any, is the last of `tokens`.

    Counts by tier are indexed as the drafter numbers its tiers.
    """

    tokens: Ints  # [n]
    stop: Stop
    passes: int
    rows: int
    drafted_by_tier: tuple[int, ...]
    accepted_by_tier: tuple[int, ...]
    relaxed: tuple[RelaxedToken, ...]
    divergence: float  # of all relaxed tokens together
    draft_error: str | None  # why drafting was given up on the way, if it was
    queue_ns: int
    pass_ns: int
    draft_ns: int
    host_ns: int

    @property
    def drafted(self) -> int:
        """Drafted tokens in all."""
        return sum(self.drafted_by_tier)

    @property
    def accepted(self) -> int:
        """Drafted tokens that are in the text."""
        return sum(self.accepted_by_tier)


TextEvent = TextPiece | TextResult
