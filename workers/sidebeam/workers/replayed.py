"""How a text comes back to where it was on a worker that was lost: its beginning is the first draft."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.calibration import TIERS
from sidebeam.knowledge.draft import ABOVE, TextDraft
from sidebeam.texts import Drafting, TextDrafter, TextRequest, TextSession

Ints = npt.NDArray[np.int64]

REPLAYED = len(TIERS)  # the tier of what was written before
UNWEIGHED_ROWS = 16  # drafted after the beginning for a request that wants no more than pays


def replayed(request: TextRequest, written: Ints) -> TextRequest:
    """The same text, of which `written` [n] is known: verified as one draft, it takes one pass instead of n."""
    wanted = request.drafting
    n = len(written)
    drafting = Drafting("explicit", max(wanted.rows, n), max(wanted.depth, n))
    return replace(request, drafter=ReplayedDrafter(request.drafter, written, wanted), drafting=drafting)


class ReplayedDrafter:
    """Drafts the known beginning, then what `inner` says, within what the request `wanted`; None: nothing."""

    def __init__(self, inner: TextDrafter | None, written: Ints, wanted: Drafting) -> None:
        self.inner = inner
        self._written, self._wanted = written, wanted

    def open(self, prompt: Ints) -> ReplayedSession:
        """Start on a text that begins after `prompt` [P]."""
        inner = None if self.inner is None else self.inner.open(prompt)
        return ReplayedSession(inner, self._written, self._wanted)


class ReplayedSession:
    """One text on its way back, and onwards."""

    def __init__(self, inner: TextSession | None, written: Ints, wanted: Drafting) -> None:
        self._inner = inner
        self._known = written  # what is still to come of it
        self._depth = wanted.depth
        self._rows = min(wanted.rows, UNWEIGHED_ROWS) if wanted.mode == "auto" else wanted.rows
        self._drafts = wanted.mode != "off"

    def draft(self, budget_rows: int, max_depth: int) -> TextDraft:
        """The rest of the known beginning as one chain, or the inner drafter's tree."""
        n = min(len(self._known), budget_rows, max_depth)
        if n:
            chain = np.arange(ABOVE, n - 1, dtype=np.int32)
            known = self._known[:n].astype(np.int32)
            return TextDraft(known, chain, np.ones(n, np.float32), np.full(n, REPLAYED, np.uint8))
        if self._inner is None or not self._drafts:
            return TextDraft.empty()
        return self._inner.draft(min(budget_rows, self._rows), min(max_depth, self._depth))

    def extend(self, tokens: Ints) -> None:
        """The text goes on with `tokens` [n]; if not as it was known to, it is known no more."""
        n = min(len(tokens), len(self._known))
        self._known = self._known[n:] if np.array_equal(tokens[:n], self._known[:n]) else self._known[:0]
        if self._inner is not None:
            self._inner.extend(tokens)

    def close(self) -> None:
        """The text has ended, or nobody wants it any more."""
        if self._inner is not None:
            self._inner.close()
