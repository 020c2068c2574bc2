"""Whether to ask a drafter: within one text, and from one text to the next."""

from __future__ import annotations

import numpy as np

from sidebeam.knowledge.draft import TextDraft
from sidebeam.texts.draft_habit import LONGEST_PAUSE, LONGEST_REST, DraftHabit, Experience
from sidebeam.texts.drafter import falling

from .drafters import text_draft

PASSES = 100
SHARE = 1e6  # nanoseconds


class Recorder:
    """Says always the same, and notes what it is told."""

    def __init__(self, draft: TextDraft) -> None:
        self.said = draft
        self.told: list[list[int]] = []
        self.asked_after: list[int] = []

    def open(self, prompt: np.ndarray) -> Recorder:
        return self

    def draft(self, budget_rows: int, max_depth: int) -> TextDraft:
        self.asked_after.append(sum(map(len, self.told)))
        return self.said

    def extend(self, tokens: np.ndarray) -> None:
        self.told.append(tokens.tolist())

    def close(self) -> None:
        pass


def write(drafter: Recorder, experience: Experience, gains: list[float], cost: float) -> DraftHabit:
    """One text of a token in each pass, in which a draft saves `gains[pass]`."""
    habit = DraftHabit()
    habit.open(drafter, np.arange(3), experience)
    for number, gain in enumerate(gains):
        habit.draft(9, 8, 4)
        habit.cost = cost
        habit.judge(0, gain, SHARE)
        habit.extend(np.array([number]))
    habit.close()
    experience.learn(habit)
    return habit


def test_what_never_pays_is_asked_ever_less_from_text_to_text() -> None:
    experience = Experience()
    asked = []
    for _ in range(12):
        drafter = Recorder(TextDraft.empty())
        write(drafter, experience, [0.0] * PASSES, cost=SHARE / 10)
        asked.append(len(drafter.asked_after))
    assert asked[0] > 6
    assert asked == sorted(asked, reverse=True)
    assert 1 <= asked[-1] <= 3
    assert round(2**experience.log_pause) <= LONGEST_PAUSE


def test_one_draft_that_fails_does_not_silence_a_kind_that_pays() -> None:
    experience = Experience()
    for _ in range(3):
        write(Recorder(text_draft([(1, -1)])), experience, [SHARE] * 20, cost=SHARE / 10)
    gains = [0.0] + [SHARE] * 19  # nothing is known where a text begins
    drafter = Recorder(text_draft([(1, -1)]))
    write(drafter, experience, gains, cost=SHARE / 10)
    assert len(drafter.asked_after) == 20
    newcomer = Recorder(text_draft([(1, -1)]))
    write(newcomer, Experience(), gains, cost=SHARE / 10)
    assert len(newcomer.asked_after) == 19  # paused once: it knew nothing better


def test_a_kind_that_has_come_to_pay_is_asked_at_once_again() -> None:
    experience = Experience()
    for _ in range(12):
        write(Recorder(TextDraft.empty()), experience, [0.0] * PASSES, cost=SHARE / 10)
    for _ in range(20):
        write(Recorder(text_draft([(1, -1)])), experience, [SHARE] * PASSES, cost=SHARE / 10)
    assert round(2**experience.log_pause) == 1


def test_a_drafter_hears_everything_before_it_is_asked() -> None:
    drafter = Recorder(TextDraft.empty())
    write(drafter, Experience(), [0.0] * PASSES, cost=SHARE / 10)
    told = [token for piece in drafter.told for token in piece]
    assert told == list(range(len(told)))
    assert len(drafter.told) < len(told)  # not one by one
    passes = [0, *np.cumsum([len(piece) for piece in drafter.told]).tolist()]
    assert drafter.asked_after == passes


def test_texts_that_are_never_judged_teach_nothing() -> None:
    experience = Experience()
    habit = DraftHabit()
    habit.open(Recorder(TextDraft.empty()), np.arange(3), experience)
    habit.draft(9, 8, 4)
    habit.close()
    experience.learn(habit)
    assert experience == Experience()


def test_no_child_is_likelier_than_its_parent() -> None:
    parents = np.array([-1, 0, 1, 0, -1], np.int32)
    probs = np.array([0.5, 0.9, 0.7, 0.2, 0.8], np.float32)
    lowered = falling(probs, parents)
    np.testing.assert_array_equal(lowered, np.array([0.5, 0.5, 0.5, 0.2, 0.8], np.float32))
    assert lowered.dtype == np.float32
    assert falling(lowered, parents) is lowered
    assert len(falling(probs[:0], parents[:0])) == 0


def test_texts_rest_from_a_drafter_that_never_pays_and_find_out_when_it_does() -> None:
    """All but one in so many are not even opened with it; one that pays ends the rest for all after it."""
    experience = Experience()
    opened = []
    for number in range(400):
        if not experience.rests():
            opened.append(number)
            write(Recorder(TextDraft.empty()), experience, [0.0] * PASSES, cost=SHARE / 10)
    assert opened[:8] == list(range(8))
    gaps = np.diff(opened)
    assert list(gaps) == sorted(gaps)
    assert gaps[-1] == LONGEST_REST + 1
    while experience.rests():
        pass
    write(Recorder(text_draft([(1, -1)])), experience, [SHARE] * PASSES, cost=SHARE / 10)
    assert not any(experience.rests() for _ in range(5))
