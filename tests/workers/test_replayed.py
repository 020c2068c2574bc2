"""A text that comes back to where it was: its beginning is drafted, then the inner drafter speaks."""

from __future__ import annotations

import numpy as np

from sidebeam.knowledge.draft import ABOVE, TextDraft
from sidebeam.texts import Drafting, PromptLookup, TextRequest
from sidebeam.workers.replayed import REPLAYED, UNWEIGHED_ROWS, ReplayedDrafter, replayed

PROMPT = np.array([7, 8, 9, 7, 8])
WRITTEN = np.array([9, 7, 8, 3])


def chain(draft: TextDraft) -> list[int]:
    assert draft.parents.tolist() == list(range(ABOVE, len(draft) - 1))
    assert set(draft.tiers.tolist()) <= {REPLAYED}
    return draft.tokens.tolist()


def test_the_beginning_is_one_chain_and_may_come_in_parts() -> None:
    session = ReplayedDrafter(None, WRITTEN, Drafting("off")).open(PROMPT)
    assert chain(session.draft(64, 32)) == WRITTEN.tolist()
    assert chain(session.draft(64, 2)) == chain(session.draft(2, 32)) == [9, 7]
    session.extend(np.array([9, 7, 8]))
    assert chain(session.draft(64, 32)) == [3]
    session.extend(np.array([3, 5]))
    assert len(session.draft(64, 32)) == 0


def test_a_text_that_goes_another_way_is_not_known_any_more() -> None:
    session = ReplayedDrafter(None, WRITTEN, Drafting("off")).open(PROMPT)
    session.extend(np.array([9, 6]))
    assert len(session.draft(64, 32)) == 0


def test_after_it_the_inner_drafter_goes_on_as_if_it_had_seen_everything() -> None:
    session = ReplayedDrafter(PromptLookup(), WRITTEN[:2], Drafting("explicit", 6, 3)).open(PROMPT)
    alone = PromptLookup().open(PROMPT)
    for each in (session, alone):
        each.extend(WRITTEN[:2])
    ours, theirs = session.draft(64, 32), alone.draft(6, 3)
    assert len(theirs) > 0
    assert ours.tokens.tolist() == theirs.tokens.tolist()
    assert session.draft(2, 1).tokens.tolist() == alone.draft(2, 1).tokens.tolist()


def test_a_request_that_weighs_its_drafts_gets_few_unweighed_ones() -> None:
    request = TextRequest(PROMPT, 100, drafter=PromptLookup(), drafting=Drafting("auto", 64, 32))
    again = replayed(request, np.arange(80))
    assert (again.drafting.mode, again.drafting.rows, again.drafting.depth) == ("explicit", 80, 80)
    assert again.drafter is not None
    session = again.drafter.open(np.tile(PROMPT, 20))
    session.extend(np.arange(80))
    session.extend(PROMPT)
    assert 0 < len(session.draft(64, 32)) <= UNWEIGHED_ROWS
