"""One text's drafter and whether asking it has paid so far."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.draft import TextDraft
from sidebeam.texts.drafter import TextDrafter, TextSession, checked

Ints = npt.NDArray[np.int64]

LEARNING_RATE = 0.2
FREE = 0.01  # of a text's share of a pass: a drafter this quick is always asked
LONGEST_PAUSE = 32  # passes
FEWEST_ROWS, FIRST_ROWS = 4, 16  # asked for: making and weighing nodes that are never granted takes time, too


@dataclass(slots=True)
class DraftHabit:
    """Asks the drafter, checks what it says, and pauses while it costs more than it brings.

    A drafter that fails is given up; the text goes on without it.
    """

    session: TextSession | None = None
    error: str | None = None
    draft_ns: int = 0
    rows: int = FIRST_ROWS  # worth asking for in the next pass
    _cost: float = 0.0  # nanoseconds of one draft, lately
    _gain: float = 0.0  # nanoseconds that one draft saved, lately
    _asked: bool = False  # in this pass
    _pause: int = 0  # passes left without a draft
    _next_pause: int = 1

    def open(self, drafter: TextDrafter | None, prompt: Ints) -> None:
        """Let the drafter start on a text; None: nothing is ever drafted."""
        if drafter is None:
            return
        start = time.perf_counter_ns()
        try:
            self.session = drafter.open(prompt)
        except Exception as error:  # a hint must never fail a text
            self._give_up(error)
        self.draft_ns += time.perf_counter_ns() - start

    def draft(self, vocab_size: int, budget_rows: int, max_depth: int) -> TextDraft:
        """A tree within the limits, empty where there is none."""
        self._asked = False
        if self.session is None or budget_rows < 1 or max_depth < 1:
            return TextDraft.empty()
        if self._pause:
            self._pause -= 1
            return TextDraft.empty()
        self._asked = True
        start = time.perf_counter_ns()
        try:
            draft = checked(self.session.draft(budget_rows, max_depth), vocab_size, budget_rows, max_depth)
        except Exception as error:
            self._give_up(error)
            draft = TextDraft.empty()
        taken = time.perf_counter_ns() - start
        self.draft_ns += taken
        self._cost = taken if not self._cost else self._cost + LEARNING_RATE * (taken - self._cost)
        return draft

    def judge(self, granted: int, gain_ns: float, share_ns: float) -> None:
        """Take in how many rows of the last draft are granted, and what they are to save.

        The text's share of the pass is `share_ns` without them.
        """
        if not self._asked:
            return
        if 2 * granted > self.rows:
            self.rows *= 2
        elif 4 * granted < self.rows:
            self.rows = max(FEWEST_ROWS, self.rows // 2)
        self._gain += LEARNING_RATE * (gain_ns - self._gain)
        if self._cost - self._gain <= FREE * share_ns:
            self._next_pause = 1
            return
        self._pause = self._next_pause
        self._next_pause = min(2 * self._next_pause, LONGEST_PAUSE)

    def extend(self, tokens: Ints) -> None:
        """Tell the drafter how the text goes on."""
        if self.session is None:
            return
        start = time.perf_counter_ns()
        try:
            self.session.extend(tokens)
        except Exception as error:
            self._give_up(error)
        self.draft_ns += time.perf_counter_ns() - start

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
