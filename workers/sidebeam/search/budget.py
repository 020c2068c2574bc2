"""How many rows a pass may carry: drafts ride along only where they are expected to pay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.search.coverage import WIDTHS, Coverage
from sidebeam.search.pass_curve import PassCurve
from sidebeam.search.request import DraftAdvice

Ints = npt.NDArray[np.int64]
Floats64 = npt.NDArray[np.float64]

CHILDREN = -1  # a level's width that means: all children of what the level above holds
MIN_GAIN = 0.05  # of a pass: what a draft must promise, since estimates err
LEARNING_DRAFTS = 16  # drafts to see before the measured coverage is trusted
PROBE_EARLY, PROBE_LATE = 4, 64  # every how many requests a draft is made only to learn from it


@dataclass(frozen=True, slots=True)
class Load:
    """What else the pass carries: rows of other requests, and how many requests wait for it in all."""

    rows: int = 0
    requests: int = 1


@dataclass(frozen=True, slots=True)
class Level:
    """What may be drafted for one depth below the nodes that must be scored.

    A draft model may have ranked `ranked` nodes of it, the best w of which have `below[w]` inner children; the catalog
    has `all_below` nodes of it below the nodes that must be scored, None if too many to count.
    """

    ranked: int
    below: Ints  # [ranked + 1]
    all_below: int | None


@dataclass(frozen=True, slots=True)
class Grant:
    """How many of the ranked nodes each level may bring, or CHILDREN; and the gain over drafting nothing, in ns."""

    widths: tuple[int, ...]
    gain: float


NOTHING = Grant((), 0.0)
NO_DRAFT = DraftAdvice(0, 0)


class Budget:
    """Minimises the expected time to finish what is open.

    A level is covered when every beam of that depth was drafted. Each level covered, with all above it, saves the
    request's K rows in a pass, and its share of what a pass costs however few its rows. Levels are won or lost
    together rather than independently, so the chance of several is that of the worst; all children of a covered level
    are covered for sure. Under load the share shrinks while a row keeps its price, so the grant shrinks to nothing.
    """

    def __init__(self, curve: PassCurve, coverage: Coverage) -> None:
        self.curve = curve
        self.coverage = coverage
        self._draft_ns: dict[int, float] = {}  # by draft length: width hardly matters to a small model
        self._requests = 0

    def grant(self, k: int, depth: int, must: int, levels: Sequence[Level], load: Load) -> Grant:
        """The best widths for `levels` below `must` rows, drafted at `depth`."""
        if not levels:
            return NOTHING
        options = [
            np.append(WIDTHS[: np.searchsorted(WIDTHS, level.ranked, side="right")], CHILDREN) for level in levels
        ]
        picks = np.stack([axis.ravel() for axis in np.meshgrid(*options, indexing="ij")], axis=1)  # [choices, levels]
        rows = np.zeros(len(picks))
        covered = np.ones(len(picks))
        saved = np.zeros(len(picks))
        whole = np.ones(len(picks), np.bool_)  # every level so far holds all there is below the must
        for j in range(len(levels)):
            width, children = picks[:, j], picks[:, j] == CHILDREN
            chance = np.interp(width, WIDTHS, self.coverage.chances(k, depth, j + 1))
            covered = np.where(children, covered, np.minimum(covered, chance))
            rows += np.where(children, self._children_rows(levels, picks, j, whole), width)
            whole &= children
            saved += covered
        shared = float(self.curve(1)) / load.requests if load.rows else 0.0
        one_pass = float(self.curve(load.rows + k) - self.curve(load.rows)) + shared
        gains = saved * one_pass - (self.curve(load.rows + must + rows) - self.curve(load.rows + must))
        gains[~np.isfinite(rows)] = -np.inf
        best = int(np.argmax(gains))
        if gains[best] <= MIN_GAIN * one_pass:
            return NOTHING
        return Grant(tuple(picks[best].tolist()), float(gains[best]))

    def _children_rows(self, levels: Sequence[Level], picks: Ints, j: int, whole: npt.NDArray[np.bool_]) -> Floats64:
        """Rows of level j if it takes all children of the level above, for every choice made there."""
        everything = levels[j].all_below
        below = np.full(len(picks), np.inf)  # children of children of ranked nodes: too many to be worth counting
        if j:
            above = picks[:, j - 1]
            ranked = above != CHILDREN
            below[ranked] = levels[j - 1].below[above[ranked]]
        return np.where(whole, np.inf if everything is None else everything, below)

    def advise(self, k: int, prompt: int, levels: Sequence[Level], load: Load, most: DraftAdvice) -> DraftAdvice:
        """Whether the next request like this one should ask the draft model, and for how much.

        `levels` are what a draft of `most` would bring. Now and then one is asked for only to keep the coverage known.
        """
        self._requests += 1
        learned = self.coverage.drafts_seen(k) >= LEARNING_DRAFTS
        if load.requests == 1 and self._requests % (PROBE_LATE if learned else PROBE_EARLY) == 0:
            return most
        if not learned:
            return NO_DRAFT
        without = self.grant(k, 0, prompt, [Level(0, level.below[:1], level.all_below) for level in levels], load)
        with_model = self.grant(k, 0, prompt, levels, load)
        length = max((j for j, width in enumerate(with_model.widths, start=1) if width > 0), default=0)
        draft_ns = self._draft_ns.get(length, max(self._draft_ns.values(), default=0.0))
        if not length or with_model.gain - draft_ns <= without.gain:
            return NO_DRAFT
        return DraftAdvice(max(with_model.widths), length)

    def observe_draft(self, length: int, ns: int) -> None:
        """Take in how long a draft of that length took."""
        known = self._draft_ns.get(length, float(ns))
        self._draft_ns[length] = 0.9 * known + 0.1 * ns
