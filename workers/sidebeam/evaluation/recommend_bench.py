"""`sidebeam bench recommend`: speed as ratios from one run, next to proof that the answers are the same."""

from __future__ import annotations

import copy
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import transformers

from sidebeam.bundle import Bundle
from sidebeam.engine import Recommender
from sidebeam.evaluation.arm import Answer, EngineArm, GenerateArm, engine_arms
from sidebeam.evaluation.generate import GenerateBaseline
from sidebeam.evaluation.sample import between as between
from sidebeam.evaluation.sample import evenly as evenly
from sidebeam.search import DraftSettings, SearchRequest

Ints = npt.NDArray[np.int64]

WARM_UP = 64  # prompts that each of our arms answers one by one before anything is timed
IN_FLIGHT = 16  # while auto learns


@dataclass(frozen=True, slots=True)
class Row:
    """One arm at one width. `identical`: share of prompts with generate's items, order and log-probs."""

    top_k: int
    arm: str
    median_ms: float
    mean_ms: float
    p90_ms: float
    passes: float
    rows: float
    identical: float | None
    speedup_over_generate: float | None
    speedup_over_none: float


def read_histories(path: Path, min_history: int) -> list[list[str]]:
    """Histories (train and valid items) of the users that have test items. Raises ValueError naming a bad line."""
    histories = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                user = json.loads(line)
                history = [str(item) for item in [*user["train"], *user["valid"]]]
                if user["test"] and len(history) >= max(min_history, 1):
                    histories.append(history)
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path.name}:{number}: not a user with train, valid and test items: {error}"
                ) from error
    return histories


class RecommendBench:
    """Arms take turns on every prompt, so that a noisy machine disturbs all of them alike."""

    def __init__(
        self, recommender: Recommender, bundle: Bundle, *, with_generate: bool, device: str, dtype: str
    ) -> None:
        self._recommender = recommender
        self._bundle = bundle
        catalog = recommender.engine.catalog
        self._generate = None
        if with_generate:
            self._generate = GenerateArm(GenerateBaseline.load(bundle.target, catalog, device, dtype), catalog.depth)

    def run(
        self,
        histories: list[list[str]],
        others: list[list[str]],
        widths: Sequence[int],
        progress: Callable[[str], None],
    ) -> Iterator[Row]:
        """Rows for each width in turn. `others` are users whom auto serves first, as a service has; none is timed."""
        prompts, earlier = self._prompts(histories), self._prompts(others)
        untaught = copy.deepcopy(self._recommender.engine.budget)
        for k in widths:
            self._recommender.engine.holding.budget = copy.deepcopy(untaught)  # not what the last arm left there
            progress(f"K = {k}: warming up")
            ours = engine_arms(self._recommender, self._bundle.defaults.draft_beams)
            for own in ours:
                for start in range(0, len(earlier) if own.learns else 0, IN_FLIGHT):
                    own.serve(earlier[start : start + IN_FLIGHT], k)
                for prompt in earlier[:WARM_UP]:
                    own(prompt, k)
            arms: list[EngineArm | GenerateArm] = [*ours]
            if self._generate is not None:
                self._generate(prompts[0], k)
                arms.insert(0, self._generate)
            answers: dict[str, list[Answer]] = {arm.name: [] for arm in arms}
            for i, prompt in enumerate(prompts):
                for arm in arms[i % len(arms) :] + arms[: i % len(arms)]:
                    answers[arm.name].append(arm(prompt, k))
                if i % 20 == 0:
                    progress(f"K = {k}: {i} of {len(prompts)} prompts")
            yield from _rows(k, answers)

    def _prompts(self, histories: list[list[str]]) -> list[Ints]:
        return [np.array(self._recommender.prompt(history), np.int64) for history in histories]

    def prompt_pass_ms(self, histories: list[list[str]]) -> float:
        """Median time of one bare pass over the prompt: the floor of any request."""
        times = []
        for prompt in self._prompts(histories):
            ticket = self._recommender.engine.open(SearchRequest(prompt, 1, draft=DraftSettings("off")))
            self._recommender.engine.step()
            self._recommender.engine.cancel(ticket)
            times.append(ticket.pass_ns / 1e6)
        return float(np.median(times))


def _rows(k: int, answers: dict[str, list[Answer]]) -> Iterator[Row]:
    def median(name: str) -> float:
        return float(np.median([answer.ms for answer in answers[name]]))

    for name, given in answers.items():
        times = [answer.ms for answer in given]
        reference = answers.get("generate")
        yield Row(
            top_k=k,
            arm=name,
            median_ms=round(median(name), 3),
            mean_ms=round(float(np.mean(times)), 3),
            p90_ms=round(float(np.percentile(times, 90)), 3),
            passes=round(float(np.mean([answer.passes for answer in given])), 3),
            rows=round(float(np.mean([answer.rows for answer in given])), 1),
            identical=None
            if reference is None
            else round(float(np.mean([a.equals(b) for a, b in zip(given, reference, strict=True)])), 4),
            speedup_over_generate=None if reference is None else round(median("generate") / median(name), 3),
            speedup_over_none=round(median("none") / median(name), 3),
        )


def report(rows: list[Row], prompt_pass_ms: float, prompts: int, others: int, threads: int) -> str:
    """The table a person reads."""
    lines = [
        f"{prompts} prompts, {threads} threads, one bare prompt pass {prompt_pass_ms:.1f} ms; "
        f"auto had served {others} other users",
        f"{'K':>4} {'arm':<9} {'median ms':>9} {'vs generate':>11} {'vs none':>8} {'passes':>7} {'rows':>6} "
        f"{'ms/pass':>8} {'x prompt pass':>13} {'identical':>9}",
    ]
    for row in rows:
        over = "" if row.speedup_over_generate is None else f"{row.speedup_over_generate:.2f}x"
        same = "" if row.identical is None else f"{row.identical:.1%}"
        lines.append(
            f"{row.top_k:>4} {row.arm:<9} {row.median_ms:>9.1f} {over:>11} {row.speedup_over_none:>7.2f}x "
            f"{row.passes:>7.2f} {row.rows:>6.0f} {row.mean_ms / row.passes:>8.1f} "
            f"{row.median_ms / prompt_pass_ms:>13.2f} {same:>9}"
        )
    return "\n".join(lines)


def as_json(rows: list[Row], prompt_pass_ms: float, prompts: int, others: int, threads: int) -> str:
    """The same for scripts."""
    return json.dumps(
        {
            "schema": 1,
            "prompts": prompts,
            "learned_from": others,
            "threads": threads,
            "prompt_pass_ms": round(prompt_pass_ms, 3),
            "rows": [asdict(row) for row in rows],
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            },
        },
        indent=1,
    )
