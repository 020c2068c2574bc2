"""One text's drafter and whether asking it has paid so far."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.draft import TextDraft
from sidebeam.texts.drafter import TextDrafter, TextSession, checked

Ints = npt.NDArray[np.int64]

LEARNING_RATE = 0.2
FREE = 0.01  # of a text's share of a pass: a drafter this quick is always asked
LONGEST_PAUSE = 64  # passes
RESTING = 5.0  # log_pause from which on whole texts go without a drafter, all but one in so many
LONGEST_REST = 32  # texts
NOTHING = TextDraft.empty()
FEWEST_ROWS, FIRST_ROWS = 4, 16  # asked for: making and weighing nodes that are never granted takes time, too


@dataclass(slots=True)
class Experience:
    """What drafts of one kind were worth to the texts that have ended: the next one need not find out anew."""

    cost: float = 0.0  # nanoseconds of one draft
    gain: float = 0.0  # nanoseconds that one draft saved
    log_pause: float = 0.0  # the power of 2 at which pauses begin
    rest: int = 0  # texts that go without in a row: opening a drafter and one vain draft of each cost time, too
    rested: int = 0  # of these, so far

    def rests(self) -> bool:
        """Whether a text that begins now is to go without, since for long drafts have cost more than they bring."""
        if self.rested < self.rest:
            self.rested += 1
            return True
        self.rested = 0
        return False

    def learn(self, habit: DraftHabit) -> None:
        """Take in how it was with one text."""
        if habit.is_judged:
            self.cost += LEARNING_RATE * (habit.cost - self.cost) if self.cost else habit.cost
            self.gain += LEARNING_RATE * (habit.gain - self.gain) if self.gain else habit.gain
            self.log_pause += LEARNING_RATE * (math.log2(habit.next_pause) - self.log_pause)
            if habit.next_pause == 1 or self.log_pause < RESTING:
                self.rest = 0
            else:
                self.rest = min(max(1, 2 * self.rest), LONGEST_REST)


@dataclass(slots=True)
class DraftHabit:
    """Asks the drafter, checks what it says, and pauses while it costs more than it brings.

    A drafter that fails is given up; the text goes on without it.
    """

    session: TextSession | None = None
    error: str | None = None
    draft_ns: int = 0
    rows: int = FIRST_ROWS  # worth asking for in the next pass
    cost: float = 0.0  # nanoseconds of one draft, lately
    gain: float = 0.0  # nanoseconds that one draft saved, lately
    next_pause: int = 1
    is_judged: bool = False
    asked: bool = False  # in this pass
    _untold: list[Ints] = field(default_factory=list)  # tokens that the drafter has not heard of
    _pause: int = 0  # passes left without a draft

    def open(self, drafter: TextDrafter | None, prompt: Ints, experience: Experience | None = None) -> None:
        """Let the drafter start on a text, with what earlier ones have learned; None: nothing is ever drafted."""
        if drafter is None:
            return
        if experience is not None:
            self.cost, self.gain = experience.cost, experience.gain
            self.next_pause = round(2**experience.log_pause)
        start = time.perf_counter_ns()
        try:
            self.session = drafter.open(prompt)
        except Exception as error:  # a hint must never fail a text
            self._give_up(error)
        self.draft_ns += time.perf_counter_ns() - start

    def draft(self, vocab_size: int, budget_rows: int, max_depth: int) -> TextDraft:
        """A tree within the limits, empty where there is none."""
        self.asked = False
        if self.session is None or budget_rows < 1 or max_depth < 1:
            return NOTHING
        if self._pause:
            self._pause -= 1
            return NOTHING
        self.asked = True
        start = time.perf_counter_ns()
        try:
            if self._untold:
                self.session.extend(self._untold[0] if len(self._untold) == 1 else np.concatenate(self._untold))
                self._untold.clear()
            draft = checked(self.session.draft(budget_rows, max_depth), vocab_size, budget_rows, max_depth)
        except Exception as error:
            self._give_up(error)
            draft = NOTHING
        taken = time.perf_counter_ns() - start
        self.draft_ns += taken
        self.cost = taken if not self.cost else self.cost + LEARNING_RATE * (taken - self.cost)
        return draft

    def judge(self, granted: int, gain_ns: float, share_ns: float) -> None:
        """Take in how many rows of the last draft are granted, and what they are to save, less what weighing took.

        The text's share of the pass is `share_ns` without them.
        """
        if not self.asked:
            return
        self.is_judged = True
        if 2 * granted > self.rows:
            self.rows *= 2
        elif 4 * granted < self.rows:
            self.rows = max(FEWEST_ROWS, self.rows // 2)
        self.gain += LEARNING_RATE * (gain_ns - self.gain)
        if self.cost - self.gain <= FREE * share_ns:
            self.next_pause = 1
            return
        self._pause = self.next_pause
        self.next_pause = min(2 * self.next_pause, LONGEST_PAUSE)

    def extend(self, tokens: Ints) -> None:
        """The text goes on; the drafter hears of it when it is asked next."""
        if self.session is not None:
            self._untold.append(tokens)

    def close(self) -> None:
        """End the drafter's session; calling it again changes nothing."""
        session, self.session = self.session, None
        if session is None:
            return
        try:
            session.close()
        except Exception as error:
            self.error = self.error or _told(error)

    def _give_up(self, error: Exception) -> None:
        self.error = _told(error)
        self.close()


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
