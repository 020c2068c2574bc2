"""How many rows a pass may carry: drafts ride along only where they are expected to pay."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.search.coverage import WIDTHS, Coverage
from sidebeam.search.pass_curve import PassCurve
from sidebeam.search.request import DraftAdvice

Ints = npt.NDArray[np.int64]
Floats64 = npt.NDArray[np.float64]

MIN_GAIN = 0.05  # of a pass: what a draft must promise, since estimates err
LEARNING_DRAFTS = 16  # drafts to see before the measured coverage is trusted
PROBE_EARLY, PROBE_LATE = 4, 64  # every how many requests a draft is made only to learn from it


@dataclass(frozen=True, slots=True)
class Load:
    """What else the pass carries: rows of other requests, and how many requests wait for it in all."""

    rows: int = 0
    requests: int = 1


@dataclass(frozen=True, slots=True)
class Grant:
    """Rows granted to each drafted level, and the expected gain over drafting nothing, nanoseconds."""

    widths: tuple[int, ...]
    gain: float

    @property
    def rows(self) -> int:
        """Drafted rows in all."""
        return sum(self.widths)


NOTHING = Grant((), 0.0)


class Budget:
    """Weighs the passes that a draft is expected to save against the time its rows add, for everyone who waits.

    A level is covered when every beam of that depth was drafted; each covered level in a row saves a pass of K rows.
    Under load other requests' rows fill the pass and each added row delays all of them, so the grant shrinks to zero
    by itself.
    """

    def __init__(self, curve: PassCurve, coverage: Coverage) -> None:
        self.curve = curve
        self.coverage = coverage
        self._draft_ns = 0.0
        self._requests = 0

    def grant_model(self, k: int, depth: int, must: int, sizes: list[int], load: Load) -> Grant:
        """Widths for the levels of a draft model's tree, made at `depth`; `sizes` are the levels' lengths."""
        if not sizes or not max(sizes):
            return NOTHING
        options = [np.unique(np.minimum(WIDTHS, size)) for size in sizes]
        chances = [
            np.interp(widths, WIDTHS, self.coverage.chances(k, depth, level))
            for level, widths in enumerate(options, start=1)
        ]
        picks = np.array(list(itertools.product(*(range(len(o)) for o in options))), np.int64)  # [choices, levels]
        widths = np.stack([o[picks[:, j]] for j, o in enumerate(options)], axis=1)
        covered = np.stack([c[picks[:, j]] for j, c in enumerate(chances)], axis=1)
        return self._choose(k, must, widths, covered, load)

    def grant_catalog(self, k: int, must: int, sizes: list[int], load: Load) -> Grant:
        """How many of the catalog's levels, each whole, are worth their rows; a whole level covers for sure."""
        if not sizes:
            return NOTHING
        levels = len(sizes)
        taken = np.tri(levels + 1, levels, -1)  # row i takes the first i levels
        return self._choose(k, must, (taken * np.array(sizes)).astype(np.int64), taken, load)

    def _choose(self, k: int, must: int, widths: Ints, covered: Floats64, load: Load) -> Grant:
        saved_pass = float(self.curve(load.rows + k))
        without = float(self.curve(load.rows + must))
        added = self.curve(load.rows + must + widths.sum(axis=1)) - without
        gains = np.cumprod(covered, axis=1).sum(axis=1) * saved_pass - load.requests * added
        best = int(np.argmax(gains))
        if gains[best] <= MIN_GAIN * saved_pass:
            return NOTHING
        return Grant(tuple(widths[best].tolist()), float(gains[best]))

    def advise(self, k: int, prompt: int, catalog_sizes: list[int], load: Load, most: DraftAdvice) -> DraftAdvice:
        """Whether the next request like this one should ask the draft model, and for how much.

        `most` is the widest draft allowed. Now and then a draft is asked for only to keep the coverage known.
        """
        self._requests += 1
        learned = self.coverage.drafts_seen(k) >= LEARNING_DRAFTS
        if load.requests == 1 and self._requests % (PROBE_LATE if learned else PROBE_EARLY) == 0:
            return most
        model = self.grant_model(k, 0, prompt, [most.beams] * most.length, load)
        catalog = self.grant_catalog(k, prompt, catalog_sizes, load)
        if not learned or model.gain - self._draft_ns * load.requests <= max(catalog.gain, 0.0):
            return DraftAdvice(0, 0)
        length = sum(1 for width in model.widths if width)
        return DraftAdvice(max(model.widths), length) if length else DraftAdvice(0, 0)

    def observe_draft(self, ns: int) -> None:
        """Take in how long a draft model took."""
        self._draft_ns = ns if not self._draft_ns else 0.9 * self._draft_ns + 0.1 * ns
