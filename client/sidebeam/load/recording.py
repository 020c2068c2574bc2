"""What a step measured, request by request."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from heapq import heappush, heapreplace

from sidebeam.load.caller import OK, STAGES, Outcome

SLOWEST = 10
MOST_MESSAGE_CHARS = 200

ErrorKey = tuple[str, str]  # code, reason


class Recording:
    """Columns, a row per request that ended; times in seconds since `start`, when measuring began.

    Numbers in arrays rather than objects: a million objects would make the garbage collector stop the client for as
    long as a request takes.
    """

    def __init__(self, start: float) -> None:
        self.start = start
        self.intended = array("d")
        self.sent = array("d")
        self.first_provisional = array("d")
        self.first_beams = array("d")
        self.ended = array("d")
        self.answered = array("b")  # 1 for OK
        self.group = array("l")  # index into `names`
        self.stages_ms = {stage: array("d") for stage in STAGES}
        self.missed = array("d")  # intended times of arrivals that were never sent
        self.cut_short = 0  # of the answers
        self.names: dict[str, int] = {}
        self.errors: Counter[ErrorKey] = Counter()
        self.messages: dict[ErrorKey, str] = {}  # the first of each kind
        self._slowest: list[tuple[float, str, float, str]] = []

    def __len__(self) -> int:
        return len(self.intended)

    def add(self, outcome: Outcome) -> None:
        """Note a request that ended, unless it belongs to the warm-up."""
        if outcome.intended < self.start:
            return
        start = self.start
        self.intended.append(outcome.intended - start)
        self.sent.append(outcome.sent - start)
        self.first_provisional.append(outcome.first_provisional - start)
        self.first_beams.append(outcome.first_beams - start)
        self.ended.append(outcome.ended - start)
        self.answered.append(outcome.code == OK)
        self.group.append(self.names.setdefault(outcome.name, len(self.names)))
        for stage, took_ms in zip(STAGES, outcome.stages_ms, strict=True):
            self.stages_ms[stage].append(took_ms)
        self.cut_short += outcome.cut_short
        if outcome.code != OK:
            key = (outcome.code, outcome.reason)
            self.errors[key] += 1
            self.messages.setdefault(key, outcome.message[:MOST_MESSAGE_CHARS])
        self._rank(outcome)

    def miss(self, intended: float) -> None:
        """Note an arrival that could not be sent."""
        if intended >= self.start:
            self.missed.append(intended - self.start)

    def slowest(self) -> Iterator[tuple[float, str, float, str]]:
        """The slowest requests, slowest first: milliseconds, request id, intended second, code."""
        return iter(sorted(self._slowest, reverse=True))

    def _rank(self, outcome: Outcome) -> None:
        took_ms = (outcome.ended - outcome.intended) * 1e3
        entry = (took_ms, outcome.request_id, outcome.intended - self.start, outcome.code)
        if len(self._slowest) < SLOWEST:
            heappush(self._slowest, entry)
        elif entry > self._slowest[0]:
            heapreplace(self._slowest, entry)
