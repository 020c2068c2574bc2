"""How many rows a pass may carry: drafts ride along only where they are expected to pay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.search.coverage import WIDTHS, Coverage
from sidebeam.search.pass_curve import LEARNING_RATE, STEP, PassCurve
from sidebeam.search.request import DraftAdvice

Ints = npt.NDArray[np.int64]
Floats64 = npt.NDArray[np.float64]

CHILDREN = -1  # a level's width that means: all children of what the level above holds
MIN_GAIN = 0.05  # of a pass: what a draft must promise, since estimates err
LEARNING_DRAFTS = 12  # drafts to see before the measured coverage is trusted
LEARNING_RECALLS = 32  # the same for memory, which costs little
PROBE_EARLY, PROBE_LATE = 2, 64  # every how many requests a draft is made only to learn from it
RECALL_ANYWAY = 8  # every how many requests memory is asked for all it has, whatever that was worth
MOST_HELD = 4096  # weighed choices
ADVICE_HOLDS = 32  # requests: weighing all choices takes half a millisecond


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

    A level is covered when every beam of that depth was drafted. Levels are won or lost together rather than
    independently, so the chance of several is that of the worst; all children of a covered level are covered for
    sure. What covering a level saves is learned: how many passes requests of this width needed from that depth on,
    and from the next. A pass saved is worth the request's K rows in it, and its share of what a pass costs however
    few its rows. Under load the share shrinks while a row keeps its price, so the grant shrinks to nothing.
    """

    def __init__(self, curve: PassCurve, coverage: Coverage) -> None:
        self.curve = curve
        self.coverage = coverage  # of the draft model
        self.memory_coverage = Coverage()
        self._passes: dict[int, dict[int, float]] = {}  # by width and depth: passes needed from there on
        self._of_drawn: Budget | None = None
        self._draft_ns: dict[int, float] = {}  # by draft length: width hardly matters to a small model
        self._requests = 0
        self._advice: dict[tuple[int, int], tuple[int, DraftAdvice]] = {}  # by width and load: when it was given, what
        self._recalls: dict[
            tuple[int, int, int, int, int], tuple[int, Grant]
        ] = {}  # the same, by depth, rows, children

    def of(self, drawn: bool) -> Budget:
        """The budget of requests whose beams are drawn, or of the others: drafts are worth more to the one or other."""
        if not drawn:
            return self
        if self._of_drawn is None:
            self._of_drawn = Budget(self.curve, Coverage())
        return self._of_drawn

    def grant(
        self, k: int, depth: int, must: int, levels: Sequence[Level], load: Load, coverage: Coverage | None = None
    ) -> Grant:
        """The best widths for `levels` below `must` rows, drafted at `depth`; `coverage` is the ranking drafter's."""
        if not levels:
            return NOTHING
        chances = [(coverage or self.coverage).chances(k, depth, j) for j in range(1, len(levels) + 1)]
        options = [_options(level.ranked, known) for level, known in zip(levels, chances, strict=True)]
        picks = np.stack([axis.ravel() for axis in np.meshgrid(*options, indexing="ij")], axis=1)  # [choices, levels]
        rows = np.zeros(len(picks))
        covered = np.ones(len(picks))
        saved = np.zeros(len(picks))
        whole = np.ones(len(picks), np.bool_)  # every level so far holds all there is below the must
        for j in range(len(levels)):
            width, children = picks[:, j], picks[:, j] == CHILDREN
            chance = np.interp(width, WIDTHS, chances[j])
            covered = np.where(children, covered, np.minimum(covered, chance))
            rows += np.where(children, self._children_rows(levels, picks, j, whole), width)
            whole &= children
            saved += covered * self._passes_saved(k, depth + j + 1, depth + len(levels) + 1)
        one_pass = self._pass_saved(k, load)
        gains = saved * one_pass - (self.curve(load.rows + must + rows) - self.curve(load.rows + must))
        gains[~np.isfinite(rows)] = -np.inf
        best = int(np.argmax(gains))
        if gains[best] <= MIN_GAIN * one_pass:
            return NOTHING
        return Grant(tuple(picks[best].tolist()), float(gains[best]))

    def grant_recall(
        self, k: int, depth: int, must: int, children: int, levels: Callable[[], Sequence[Level]], load: Load
    ) -> Grant:
        """The widths for what memory has below `must` rows with so many `children`; weighed anew every few requests."""
        key = (k, depth, load.requests.bit_length(), (load.rows + must).bit_length(), children.bit_length())
        known = self._recalls.get(key)
        if known is None or known[0] <= self._requests - ADVICE_HOLDS:
            if len(self._recalls) > MOST_HELD:
                self._recalls.clear()
            grant = self.grant(k, depth, must, levels(), load, self.memory_coverage)
            known = self._recalls[key] = (self._requests, grant)
        return known[1]

    def recalls_all(self, k: int) -> bool:
        """Whether memory should offer more than what is granted, so that its coverage is known."""
        return self.memory_coverage.drafts_seen(k) < LEARNING_RECALLS or self._requests % RECALL_ANYWAY == 0

    def _pass_saved(self, k: int, load: Load) -> float:
        """What a pass less is worth: the request's own rows, and its share of what any pass costs."""
        shared = float(self.curve(1)) / load.requests if load.rows else 0.0
        return float(self.curve(load.rows + k) - self.curve(load.rows)) + shared

    def _passes_saved(self, k: int, depth: int, length: int) -> float:
        """Passes that a request is spared whose nodes of `depth` are covered, over one whose nodes above it are."""
        known = self._passes.get(int(k).bit_length(), {})
        return known.get(depth, float(length - depth)) - known.get(depth + 1, float(length - depth - 1))

    def observe_passes(self, k: int, depths: Sequence[int]) -> None:
        """Take in at which depth each pass of a request had to score, in turn."""
        known = self._passes.setdefault(int(k).bit_length(), {})
        for i, depth in enumerate(depths):
            needed = float(len(depths) - i)
            known[depth] = known.get(depth, needed) + LEARNING_RATE * (needed - known.get(depth, needed))

    def _children_rows(self, levels: Sequence[Level], picks: Ints, j: int, whole: npt.NDArray[np.bool_]) -> Floats64:
        """Rows of level j if it takes all children of the level above, for every choice made there."""
        everything = levels[j].all_below
        below = np.full(len(picks), np.inf)  # children of children of ranked nodes: too many to be worth counting
        if j:
            above = picks[:, j - 1]
            ranked = above != CHILDREN
            below[ranked] = levels[j - 1].below[above[ranked]]
        return np.where(whole, np.inf if everything is None else everything, below)

    def advise(
        self,
        k: int,
        prompt: int,
        levels: Callable[[], tuple[Sequence[Level], Sequence[Level]]],
        load: Load,
        most: DraftAdvice,
    ) -> DraftAdvice:
        """Whether the next request like this one should ask the draft model, and for how much.

        `levels()` is what a draft of `most` would bring, and what memory brings without one. Now and then a draft
        is asked for only to keep the coverage known.
        """
        self._requests += 1
        learned = self.coverage.drafts_seen(k) >= LEARNING_DRAFTS
        if load.requests == 1 and self._requests % (PROBE_LATE if learned else PROBE_EARLY) == 0:
            return most
        if not learned:
            return NO_DRAFT
        key = (k, load.requests.bit_length())
        known = self._advice.get(key)
        if known is None or known[0] <= self._requests - ADVICE_HOLDS:
            known = self._advice[key] = (self._requests, self._best_draft(k, prompt, *levels(), load))
        return known[1]

    def _best_draft(
        self, k: int, prompt: int, levels: Sequence[Level], recalled: Sequence[Level], load: Load
    ) -> DraftAdvice:
        unranked = [Level(0, level.below[:1], level.all_below) for level in levels]
        best, advice = self.grant(k, 0, prompt, recalled, load, self.memory_coverage).gain, NO_DRAFT
        for length in range(1, len(levels) + 1):
            grant = self.grant(k, 0, prompt, [*levels[:length], *unranked[length:]], load)
            gain = grant.gain - self._draft_time(length)
            if gain > best and max(grant.widths, default=0) > 0:
                best, advice = gain, DraftAdvice(max(grant.widths), length)
        return advice

    def observe_draft(self, length: int, ns: int) -> None:
        """Take in how long a draft of that length took."""
        known = self._draft_ns.get(length, float(ns))
        self._draft_ns[length] = known + LEARNING_RATE * (min(float(ns), STEP * known) - known)

    def _draft_time(self, length: int) -> float:
        """Expected time of a draft; a length never tried is judged by the nearest that was, in proportion."""
        if not self._draft_ns:
            return 0.0
        nearest = min(self._draft_ns, key=lambda known: abs(known - length))
        return self._draft_ns[nearest] * length / nearest


def _options(ranked: int, chances: Floats64) -> Ints:
    """Widths worth weighing for a level: those that cover more than the next narrower one, and all children."""
    widths = WIDTHS[: np.searchsorted(WIDTHS, ranked, side="right")]
    rising = np.diff(chances[: len(widths)], prepend=-1.0) > 0
    return np.append(widths[rising], CHILDREN)
