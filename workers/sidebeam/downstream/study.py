"""The study: every arm on every seed's split, and what the arms differ by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidebeam.downstream.encoder import Encoder
from sidebeam.downstream.error import DownstreamError
from sidebeam.downstream.features import Coverage, TextFeatures, TextFiles
from sidebeam.downstream.samples import ClickLog
from sidebeam.downstream.scores import Mean, mean_over_seeds
from sidebeam.downstream.trial import ClickRecipe, Score, run_trial

if TYPE_CHECKING:
    from sidebeam.training.progress import ProgressBar

NONE = "none"
"""The arm without texts."""


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """Seeds count from `seed`. Raises `DownstreamError` naming the option, the value and its limit."""

    seeds: int = 5
    seed: int = 0
    history: int = 10
    negatives: int = 4

    def __post_init__(self) -> None:
        for name, least in (("seeds", 1), ("seed", 0), ("history", 1), ("negatives", 1)):
            if getattr(self, name) < least:
                raise DownstreamError(f"--{name} must be at least {least}; given {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Difference:
    """One arm less another, paired by seed."""

    arm: str
    less: str
    auc: Mean
    log_loss: Mean


@dataclass(frozen=True, slots=True)
class Findings:
    """Scores by arm, one per seed, the arm without texts first."""

    scores: Mapping[str, tuple[Score, ...]]
    coverage: Mapping[str, Coverage]
    users: int
    items: int

    def mean(self, arm: str, metric: str) -> Mean:
        """The mean of `auc` or `log_loss` over seeds."""
        return mean_over_seeds([getattr(score, metric) for score in self.scores[arm]])

    def differences(self) -> list[Difference]:
        """Every arm less none, and every later arm with texts less the first one."""
        arms = list(self.scores)
        pairs = [(arm, NONE) for arm in arms[1:]] + [(arm, arms[1]) for arm in arms[2:]]
        return [
            Difference(arm, less, self._paired(arm, less, "auc"), self._paired(arm, less, "log_loss"))
            for arm, less in pairs
        ]

    def _paired(self, arm: str, less: str, metric: str) -> Mean:
        pairs = zip(self.scores[arm], self.scores[less], strict=True)
        return mean_over_seeds([getattr(one, metric) - getattr(other, metric) for one, other in pairs])


def check_names(arms: Sequence[TextFiles]) -> None:
    """Raises `DownstreamError` without arms, and for a name that the arm without texts has."""
    if not arms:
        raise DownstreamError("there must be --user-texts or --item-texts, at least one file")
    for arm in arms:
        if arm.name == NONE:
            raise DownstreamError(f"--user-texts, --item-texts: the name {NONE!r} is that of the arm without texts")


def run_study(
    log: ClickLog,
    arms: Sequence[TextFiles],
    encoder: Encoder,
    plan: StudyPlan,
    recipe: ClickRecipe,
    bar: ProgressBar | None = None,
) -> Findings:
    """Trains every arm on every seed: within a seed all arms have the same users, negatives and order.

    Raises `DownstreamError`.
    """
    check_names(arms)
    features: dict[str, TextFeatures] = {NONE: TextFeatures()}
    coverage: dict[str, Coverage] = {NONE: Coverage()}
    for arm in arms:
        features[arm.name], coverage[arm.name] = arm.features(log, encoder, bar)
    scores: dict[str, list[Score]] = {name: [] for name in features}
    if bar is not None:
        bar.begin("click models", plan.seeds * len(features))
    for seed in range(plan.seed, plan.seed + plan.seeds):
        split = log.split(seed, history=plan.history, negatives=plan.negatives)
        for name, texts in features.items():
            score = run_trial(split, len(log.items), texts, recipe, seed)
            scores[name].append(score)
            if bar is not None:
                bar.advance(1, "models/s")
                bar.note(
                    f"seed {seed}, {name}: AUC {score.auc:.4f}, log loss {score.log_loss:.4f}, epoch {score.epoch}"
                )
    return Findings({name: tuple(found) for name, found in scores.items()}, coverage, len(log.users), len(log.items))
