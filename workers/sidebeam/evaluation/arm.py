"""The arms of a benchmark: the same prompts, weights, threads and process, one way of answering each."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.engine import Recommender
from sidebeam.evaluation.generate import GenerateBaseline
from sidebeam.search import DraftSettings, Memory, SearchRequest, SearchResult
from sidebeam.search.request import Sampling

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

TOLERANCE = 1e-4  # of a log-prob


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer and what it cost."""

    leaves: list[int]
    log_probs: Floats
    ms: float
    passes: int
    rows: int
    depths: tuple[int, ...] = ()  # [passes] how many depths each pass brought
    drafted: tuple[int, ...] = ()  # [L - 1] nodes by depth, from 1 on
    needed: tuple[int, ...] = ()  # [L - 1] those that the answer needed

    def equals(self, other: Answer) -> bool:
        """Equal items and log-probs; two items closer than the tolerance may stand in either order."""
        if len(self.leaves) != len(other.leaves) or np.abs(self.log_probs - other.log_probs).max() > TOLERANCE:
            return False
        if self.leaves == other.leaves:
            return True
        scores = dict(zip(other.leaves, other.log_probs.tolist(), strict=True))
        return set(self.leaves) == set(other.leaves) and all(
            abs(scores[leaf] - score) <= TOLERANCE
            for leaf, score in zip(self.leaves, self.log_probs.tolist(), strict=True)
        )


class GenerateArm:
    """transformers `generate`."""

    name = "generate"

    def __init__(self, baseline: GenerateBaseline, depth: int) -> None:
        self._baseline = baseline
        self._depth = depth

    def __call__(self, prompt: Ints, k: int) -> Answer:
        start = time.perf_counter_ns()
        leaves, log_probs = self._baseline(prompt, k)
        ms = (time.perf_counter_ns() - start) / 1e6
        # generate repeats the prompt for every beam
        return Answer(leaves, log_probs, ms, self._depth, k * (len(prompt) + self._depth - 1), (1,) * self._depth)


class EngineArm:
    """Our engine under fixed draft settings; each arm learns for itself, so that none profits from another's."""

    def __init__(self, name: str, recommender: Recommender, draft: DraftSettings) -> None:
        self.name = name
        self._recommender = recommender
        self._draft = draft
        self._budget = copy.deepcopy(recommender.engine.budget)
        self._memory = Memory(recommender.engine.catalog)
        self._advice = dict(recommender.advice)

    @property
    def learns(self) -> bool:
        """Whether what it drafts depends on earlier requests."""
        return self._draft.mode == "auto"

    def serve(
        self, prompts: Sequence[Ints], k: int, samplings: Sequence[Sampling | None] | None = None
    ) -> list[SearchResult]:
        """Answer all of them, sharing passes; `samplings` says for each how relaxed verification draws."""
        held = self._recommender.engine.holding
        held.budget, held.memory, self._recommender.advice = self._budget, self._memory, self._advice
        return self._recommender.search(
            [
                SearchRequest(prompt, k, draft=self._draft, sampling=sampling)
                for prompt, sampling in zip(prompts, samplings or [None] * len(prompts), strict=True)
            ]
        )

    def __call__(self, prompt: Ints, k: int, sampling: Sampling | None = None) -> Answer:
        start = time.perf_counter_ns()
        (result,) = self.serve([prompt], k, [sampling])
        ms = (time.perf_counter_ns() - start) / 1e6
        return Answer(
            leaves=result.leaves.tolist(),
            log_probs=result.log_probs,
            ms=ms,
            passes=result.passes,
            rows=result.rows,
            depths=result.depths,
            drafted=result.drafted_by_depth,
            needed=result.accepted_by_depth,
        )


def engine_arms(recommender: Recommender, draft_beams: int) -> list[EngineArm]:
    """No drafts, catalog, the draft model at its default width (if there is one), and auto."""
    length = recommender.engine.catalog.depth - 1
    settings = {"none": DraftSettings("off"), "catalog": DraftSettings("explicit", "catalog")}
    if recommender.draft is not None:
        settings["model"] = DraftSettings("explicit", "model", draft_beams, length)
    settings["auto"] = DraftSettings("auto")
    return [EngineArm(name, recommender, draft) for name, draft in settings.items()]
