"""From what was measured to figures with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.catalog import Catalog
from sidebeam.evaluation.arm_name import BASELINES, GENERATE, NEIGHBOURS, POPULARITY, ArmName
from sidebeam.evaluation.interval import Bootstrap, Estimate
from sidebeam.evaluation.quality import hits, ndcg, recall
from sidebeam.evaluation.study import Track

Ints = npt.NDArray[np.int64]
Floats64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Depth:
    """Drafts of one depth. Counts are means per request; nothing drafted, nothing needed: None."""

    depth: int
    drafted: Estimate
    needed: Estimate
    useful: Estimate | None  # needed over drafted
    covered: Estimate  # share of the beams that had been drafted
    whole: Estimate  # share of requests whose beams had all been drafted


@dataclass(frozen=True, slots=True)
class Cost:
    """What the answers of one arm at one width took.

    `identical` and `overlap` compare with the arm without drafts under the same verification and seed: the share of
    requests with its items, order and log-probs, and the share of its items. `over_off` and `over_generate` are mean
    times of those over this one's: above 1 is faster.
    """

    arm: ArmName
    top_k: int
    ms: Estimate
    median_ms: float
    p90_ms: float
    passes: Estimate
    rows: Estimate
    rows_per_pass: Estimate
    depth_per_pass: Estimate
    accepted_steps: Estimate  # L less passes
    over_off: Estimate | None
    over_generate: Estimate | None
    identical: Estimate | None
    overlap: Estimate | None
    by_depth: tuple[Depth, ...]


@dataclass(frozen=True, slots=True)
class Quality:
    """Recall and NDCG within the first `n` of lists of `list_length`.

    The ratios are to the lists of the arm without drafts, and to those of the two baselines.
    """

    arm: ArmName
    list_length: int
    n: int
    recall: Estimate
    ndcg: Estimate
    recall_over_off: Estimate | None
    ndcg_over_off: Estimate | None
    recall_over_popularity: Estimate | None
    ndcg_over_popularity: Estimate | None
    recall_over_neighbours: Estimate | None
    ndcg_over_neighbours: Estimate | None


@dataclass(frozen=True, slots=True)
class Findings:
    """All figures of an evaluation."""

    widths: tuple[int, ...]
    costs: tuple[Cost, ...]
    quality: tuple[Quality, ...]

    def cost(self, name: ArmName, k: int) -> Cost | None:
        """What an arm took at that width."""
        return next((cost for cost in self.costs if (cost.arm, cost.top_k) == (name, k)), None)

    def quality_of(self, name: ArmName, n: int, list_length: int) -> Quality | None:
        """How good an arm's lists of that length are."""
        wanted = (name, n, list_length)
        return next((each for each in self.quality if (each.arm, each.n, each.list_length) == wanted), None)

    def qualities(self, list_length: int | None) -> list[tuple[list[ArmName], list[Quality]]]:
        """Arms with their quality at each width, in lists of that length or, None, as long as the width.

        Arms with the same figures throughout stand together.
        """
        rows: dict[tuple[Estimate, ...], tuple[list[ArmName], list[Quality]]] = {}
        for name in [*BASELINES, *self.arms]:
            each = [self.quality_of(name, n, list_length or n) for n in self.widths]
            found = [quality for quality in each if quality is not None]
            figures = tuple(figure for quality in found for figure in (quality.recall, quality.ndcg))
            rows.setdefault(figures, ([], found))[0].append(name)
        return list(rows.values())

    @property
    def arms(self) -> list[ArmName]:
        """Who was timed, in order."""
        return list(dict.fromkeys(cost.arm for cost in self.costs))


class Judge:
    """Weighs tracks; all its figures come from the same resamples of users."""

    def __init__(self, catalog: Catalog, comparable: bool, truths: Sequence[Ints], seed: int) -> None:
        """`comparable`: generate's log-probs mean the same as ours (raw scoring)."""
        self._catalog = catalog
        self._comparable = comparable
        self._truths = truths
        self._bootstrap = Bootstrap(len(truths), seed)

    def findings(self, tracks: Sequence[Track], baselines: Mapping[ArmName, Ints]) -> Findings:
        """All figures; `baselines` holds lists of the greatest width of each of BASELINES.  # [users, K]"""
        by_width: dict[int, dict[ArmName, Track]] = {}
        for track in tracks:
            by_width.setdefault(track.top_k, {})[track.name] = track
        costs = [self._cost(track, arms) for arms in by_width.values() for track in arms.values()]
        widths = tuple(by_width)
        quality = []
        for k, arms in by_width.items():
            lists = {name: made[:, :k] for name, made in baselines.items()}
            lists |= {name: track.lists for name, track in arms.items()}
            quality += self._quality(lists, k, widths if k == widths[-1] else (k,))
        return Findings(widths, tuple(costs), tuple(quality))

    def _cost(self, track: Track, arms: Mapping[ArmName, Track]) -> Cost:
        mean, ratio = self._bootstrap.mean, self._bootstrap.ratio
        answers, off = track.answers, arms.get(track.name.off)
        ms, passes = _times(track), np.array([answer.passes for answer in answers])
        rows = np.array([answer.rows for answer in answers])
        depths = np.array([sum(answer.depths) for answer in answers])
        others = arms if track.name != GENERATE or self._comparable else {}
        plain = None if track.name == track.name.off else others.get(track.name.off)
        return Cost(
            arm=track.name,
            top_k=track.top_k,
            ms=mean(ms),
            median_ms=float(np.median(ms)),
            p90_ms=float(np.percentile(ms, 90)),
            passes=mean(passes),
            rows=mean(rows),
            rows_per_pass=_some(ratio(rows, passes)),
            depth_per_pass=_some(ratio(depths, passes)),
            accepted_steps=mean(self._catalog.depth - passes),
            over_off=None if off is None else ratio(_times(off), ms),
            over_generate=None if GENERATE not in arms else ratio(_times(arms[GENERATE]), ms),
            identical=None if plain is None else mean(_identical(track, plain)),
            overlap=None if plain is None else mean(_overlap(track, plain)),
            by_depth=tuple(self._by_depth(track)),
        )

    def _by_depth(self, track: Track) -> list[Depth]:
        mean, ratio = self._bootstrap.mean, self._bootstrap.ratio
        if not all(answer.drafted for answer in track.answers):  # generate, and SIDs of one token
            return []
        drafted = np.array([answer.drafted for answer in track.answers])  # [users, L - 1]
        needed = np.array([answer.needed for answer in track.answers])
        found = []
        for d in range(1, self._catalog.depth):
            # Every prefix has children, so a depth holds K beams unless the whole catalog has fewer prefixes there.
            nodes = int(self._catalog.trie.level[d + 1] - self._catalog.trie.level[d])
            beams = min(track.top_k, nodes)
            at = needed[:, d - 1]
            found.append(
                Depth(
                    depth=d,
                    drafted=mean(drafted[:, d - 1]),
                    needed=mean(at),
                    useful=ratio(at, drafted[:, d - 1]),
                    covered=mean(at / beams),
                    whole=mean(at == beams),
                )
            )
        return found

    def _quality(self, lists: Mapping[ArmName, Ints], k: int, at: Sequence[int]) -> list[Quality]:
        sizes = np.array([len(truth) for truth in self._truths], np.int64)
        hit = {name: hits(each, self._truths) for name, each in lists.items()}
        mean = self._bootstrap.mean
        found = []
        for n in at:
            recalls = {name: recall(each, sizes, n) for name, each in hit.items()}
            ndcgs = {name: ndcg(each, sizes, n) for name, each in hit.items()}
            for name in lists:
                off = name.off if name.verification and name != name.off and name.off in lists else None
                found.append(
                    Quality(
                        arm=name,
                        list_length=k,
                        n=n,
                        recall=mean(recalls[name]),
                        ndcg=mean(ndcgs[name]),
                        recall_over_off=self._over(recalls, name, off),
                        ndcg_over_off=self._over(ndcgs, name, off),
                        recall_over_popularity=self._over(recalls, name, POPULARITY),
                        ndcg_over_popularity=self._over(ndcgs, name, POPULARITY),
                        recall_over_neighbours=self._over(recalls, name, NEIGHBOURS),
                        ndcg_over_neighbours=self._over(ndcgs, name, NEIGHBOURS),
                    )
                )
        return found

    def _over(self, figures: Mapping[ArmName, Floats64], name: ArmName, other: ArmName | None) -> Estimate | None:
        return None if other is None or other == name else self._bootstrap.ratio(figures[name], figures[other])


def _times(track: Track) -> Floats64:
    return np.array([answer.ms for answer in track.answers], np.float64)


def _identical(track: Track, plain: Track) -> Floats64:
    pairs = zip(track.answers, plain.answers, strict=True)
    return np.array([answer.equals(other) for answer, other in pairs], np.float64)


def _overlap(track: Track, plain: Track) -> Floats64:
    """Share of the plain list's items that the other has, too.  # [users]"""
    pairs = zip(track.answers, plain.answers, strict=True)
    return np.array([len({*answer.leaves} & {*other.leaves}) / len(other.leaves) for answer, other in pairs])


def _some(estimate: Estimate | None) -> Estimate:
    assert estimate is not None  # no request is answered without a pass
    return estimate
