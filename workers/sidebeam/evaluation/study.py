"""The measuring loop: all arms answer every user in turn, so that a noisy machine disturbs all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.evaluation.arm import Answer
from sidebeam.evaluation.arm_name import NEIGHBOURS, POPULARITY, ArmName
from sidebeam.evaluation.cohort import Cohort
from sidebeam.evaluation.error import EvaluationError
from sidebeam.evaluation.lineup import Contender, Lineup
from sidebeam.evaluation.quality import NO_LEAF

Ints = npt.NDArray[np.int64]

WARM_UP = 8  # prompts that an arm answers one by one before it is timed
LEARN_ALONE = 64  # the same for one that learns, after it has learned
IN_FLIGHT = 16  # while it does
SHOW_EVERY = 10  # users


@dataclass(frozen=True, slots=True)
class Track:
    """What one arm answered at one width, user by user."""

    name: ArmName
    top_k: int
    answers: list[Answer]

    @property
    def lists(self) -> Ints:
        """The leaves, best first; short lists are padded with NO_LEAF.  # [users, K]"""
        lists = np.full((len(self.answers), self.top_k), NO_LEAF, np.int64)
        for row, answer in zip(lists, self.answers, strict=True):
            row[: len(answer.leaves)] = answer.leaves
        return lists


class Study:
    """All widths, one after the other."""

    def __init__(self, lineup: Lineup, cohort: Cohort, progress: Callable[[str], None]) -> None:
        """Raises EvaluationError if a history makes a prompt that the target cannot take."""
        self._lineup = lineup
        self._cohort = cohort
        self._progress = progress
        self._prompts = [self._prompt(user.history) for user in cohort.users]
        self._others = [self._prompt(history) for history in cohort.others]

    def run(self, widths: Sequence[int]) -> list[Track]:
        """A track for each width and arm. Raises EvaluationError if relaxed is asked for and nothing is sampled."""
        self._lineup.check_sampling(self._prompts[0])
        return [track for k in widths for track in self._at_width(k)]

    def baselines(self, k: int) -> dict[ArmName, Ints]:
        """The lists that are made by counting.  # [users, K] each"""
        cohort = self._cohort
        counted = {POPULARITY: cohort.popularity.best, NEIGHBOURS: cohort.neighbours.best}
        return {name: np.stack([best(k, user.history) for user in cohort.users]) for name, best in counted.items()}

    def _at_width(self, k: int) -> list[Track]:
        arms = self._lineup.contenders()
        for arm in arms:
            self._progress(f"K = {k}: {arm.name.label} warms up")
            self._warm_up(arm, k)
        tracks = [Track(arm.name, k, []) for arm in arms]
        turns = list(zip(arms, tracks, strict=True))
        for i, prompt in enumerate(self._prompts):
            first = i % len(turns)
            for arm, track in turns[first:] + turns[:first]:
                track.answers.append(arm.answer(prompt, k, i))
            if i % SHOW_EVERY == 0:
                self._progress(f"K = {k}: {i} of {len(self._prompts)} users")
        return tracks

    def _warm_up(self, arm: Contender, k: int) -> None:
        """An arm that learns never meets those who are measured; the others may, where there is nobody else."""
        after = len(self._prompts)
        if arm.learns:
            for at in range(0, len(self._others), IN_FLIGHT):
                arm.learn(self._others[at : at + IN_FLIGHT], k, after + at)
            first = self._others[:LEARN_ALONE]
        else:
            first = (self._others or self._prompts)[:WARM_UP]
        for i, prompt in enumerate(first):
            arm.answer(prompt, k, after + i)

    def _prompt(self, history: Sequence[int]) -> Ints:
        prompt = self._lineup.recommender.prompts.from_items(history)
        most = self._lineup.recommender.engine.max_prompt_tokens
        if not 1 <= len(prompt) <= most:
            raise EvaluationError(
                f"--bundle must make prompts of 1 to {most} tokens, which the target takes; a history of "
                f"{len(history)} items makes {len(prompt)}: lower prompt.max_history"
            )
        return np.array(prompt, np.int64)
