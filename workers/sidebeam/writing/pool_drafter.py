"""Pools of earlier texts as a drafter, which tells them how their drafts fared."""

from __future__ import annotations

import contextlib
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.best_first import NODE_LIMIT
from sidebeam.knowledge.calibration import ENTITY, TIERS, Calibration, PoolDraft, Tier
from sidebeam.knowledge.draft import ABOVE, TextDraft
from sidebeam.knowledge.pools import Pools
from sidebeam.knowledge.session import Session
from sidebeam.texts.merge import merge

Ints = npt.NDArray[np.int64]
Earlier = npt.NDArray[np.int32]

BEGINS, GOES_ON = 0.8, 0.95  # P(a text's first token is the earlier one's), and so is the next after each that is

Judged = tuple[PoolDraft, list[int]]  # nodes of which the text says whether they were right, and those that were


class PoolDrafter:
    """Drafts one text about `entity` from `tiers`, numbered as in `TIERS`; entity and group may be unknown.

    The engine does not tell a session the tokens of its last pass: `finish` does, once the text is whole.
    """

    def __init__(
        self,
        pools: Pools,
        entity: str | None = None,
        group: str | None = None,
        *,
        tiers: Collection[Tier] = TIERS,
        learn: bool = False,
    ) -> None:
        """With `learn`, the finished text is queued for the pools, which must be open for writing."""
        self._pools, self._entity, self._group = pools, entity, group
        self._tiers, self._learn = tiers, learn
        self._session: PoolDraftSession | None = None

    def open(self, prompt: Ints) -> PoolDraftSession:
        """Start on a text that begins after `prompt` [P]."""
        session = self._pools.session(prompt, self._entity, self._group, self._tiers)
        known = self._entity is not None and "entity" in self._tiers
        earlier = self._pools.text(self._entity) if known and self._entity is not None else None
        self._session = PoolDraftSession(session, self._pools.calibration, earlier)
        return self._session

    def finish(self, tokens: Ints) -> None:
        """The whole text [n]; to be called after its session was closed.

        Raises `KnowledgeError` if the pools must not learn it.
        """
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(Exception):  # a hint must never fail a text
                session.observe(tokens[session.told :])
        if self._learn and self._entity is not None:
            self._pools.learn(self._entity, tokens, self._group)


class PoolDraftSession:
    """One text's drafts. What the text says next is what was right, whether or not the pass had room for the node.

    A new text is likely to begin as the `earlier` one [n] of its entity did, though nothing before it matches.
    """

    def __init__(self, session: Session, calibration: Calibration, earlier: Earlier | None = None) -> None:
        self.told = 0  # tokens of the text that `extend` was given
        self._earlier = earlier
        self._session = session
        self._calibration = calibration
        self._last: PoolDraft | None = None

    def draft(self, budget_rows: int, max_depth: int) -> TextDraft:
        """At most `budget_rows` nodes below the text's last token, none deeper than `max_depth`."""
        self._last = self._session.draft(min(budget_rows, NODE_LIMIT), min(max_depth, NODE_LIMIT))
        if self.told or self._earlier is None:
            return self._last
        return merge([self._last, _chain(self._earlier[: min(budget_rows, max_depth)])], budget_rows)

    def extend(self, tokens: Ints) -> None:
        """The text goes on with `tokens` [n]."""
        self.observe(tokens)
        self.told += len(tokens)
        self._session.extend(tokens)

    def observe(self, tokens: Ints) -> None:
        """Learn from the last draft, if it is still unjudged, that `tokens` [n] followed."""
        last, self._last = self._last, None
        if last is not None and len(last) and len(tokens):
            self._calibration.observe(*judged(last, tokens))

    def close(self) -> None:
        """Forget the text; `finish` of the drafter may still follow."""
        self._session.close()


def _chain(tokens: Earlier) -> TextDraft:
    n = len(tokens)
    probs = (BEGINS * GOES_ON ** np.arange(n)).astype(np.float32)
    return TextDraft(tokens, np.arange(ABOVE, n + ABOVE, dtype=np.int32), probs, np.full(n, ENTITY, np.uint8))


def judged(draft: PoolDraft, tokens: Ints) -> Judged:
    """What `tokens` [n] say of a draft of what follows: only nodes at most n deep below right ones can be judged.

    The parts of the draft that they judge, and the indices there of the nodes on the text's path.
    """
    nodes = dict(zip(zip(draft.parents.tolist(), draft.tokens.tolist(), strict=True), range(len(draft)), strict=True))
    path: list[int] = []
    above = ABOVE
    for token in tokens.tolist():
        found = nodes.get((above, token))
        if found is None:
            break
        above = found
        path.append(above)
    told = np.zeros(len(draft) + 1, np.bool_)
    told[path[: len(tokens) - 1]] = True
    told[ABOVE] = True  # the last place: the text itself
    kept = told[draft.parents]
    place = np.cumsum(kept, dtype=np.int32) - np.int32(1)
    below = draft.parents[kept]
    part = PoolDraft(
        tokens=draft.tokens[kept],
        parents=np.where(below == ABOVE, np.int32(ABOVE), place[below]),
        probs=draft.probs[kept],
        tiers=draft.tiers[kept],
        cells=draft.cells[kept],
        shares=draft.shares[kept],
    )
    return part, place[path].tolist()
