"""A step in figures."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from sidebeam.load.client_check import ClientCheck
from sidebeam.load.distribution import Distribution
from sidebeam.load.recording import Recording
from sidebeam.load.step import StepPlan
from sidebeam.load.timeline import Timeline

# What is timed, by the names of reports: from the intended time where nothing else is said. Answers only.
EVENTS = {
    "answer": "the answer",
    "service": "the answer, from the actual sending",
    "first_beams": "the first beams",
    "first_provisional": "the first provisional items",
}


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """How often a call failed in one way; `reason` is "" where the server named none."""

    code: str
    reason: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class Group:
    """The requests of one name."""

    name: str
    requests: int
    answered: int
    latency: Distribution


@dataclass(frozen=True, slots=True)
class Slow:
    """One of the slowest requests; its id is in the server's log."""

    ms: float
    request_id: str
    at_s: float
    code: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What a step's users saw. `arrivals` = `answered` + `failed` + `missed` + `unfinished`, the warm-up left out.

    `cut_short` counts the answers that hold what was known by the deadline. `goodput` counts answers within the SLO,
    all answers where there is none. `answered_rps` is over the time until the last answer, `goodput_rps` over the
    window in which requests arrived.
    """

    plan: StepPlan
    window_s: float
    arrivals: int
    answered: int
    cut_short: int
    failed: int
    missed: int
    unfinished: int
    slo_ms: float | None
    goodput: int
    answered_rps: float
    latency: dict[str, Distribution]
    stages: dict[str, Distribution]
    errors: tuple[ErrorCount, ...]
    groups: tuple[Group, ...]
    slowest: tuple[Slow, ...]
    client: ClientCheck
    timeline: Timeline

    @property
    def goodput_rps(self) -> float:
        """Answers within the SLO for each second of arrivals."""
        return self.goodput / self.window_s if self.window_s else 0.0

    @property
    def good_share(self) -> float | None:
        """The share of arrivals that were answered within the SLO; None where nothing arrived."""
        return self.goodput / self.arrivals if self.arrivals else None

    def share(self, count: int) -> float | None:
        """`count` as a share of the arrivals; None where nothing arrived."""
        return count / self.arrivals if self.arrivals else None


def summarise(
    plan: StepPlan,
    recording: Recording,
    window_s: float,
    unfinished: int,
    loop_lag: Distribution,
    cpu: float,
    slo_ms: float | None,
) -> Summary:
    """Reckon the figures of a step that has ended; see `Step` and `ClientCheck` for what they are made of."""
    latency = _latency(recording)
    answers = latency["answer"]
    answered, requests = len(answers), len(recording)
    send_lag = _between(recording.intended, recording.sent) if plan.rate is not None else None
    span_s = max([window_s, *(end for end, ok in zip(recording.ended, recording.answered, strict=True) if ok)])
    return Summary(
        plan=plan,
        window_s=window_s,
        arrivals=requests + len(recording.missed) + unfinished,
        answered=answered,
        cut_short=recording.cut_short,
        failed=requests - answered,
        missed=len(recording.missed),
        unfinished=unfinished,
        slo_ms=slo_ms,
        goodput=answered if slo_ms is None else answers.within(slo_ms),
        answered_rps=answered / span_s if span_s else 0.0,
        latency=latency,
        stages={name: Distribution.of(times) for name, times in recording.stages_ms.items()},
        errors=_errors(recording),
        groups=_groups(recording),
        slowest=tuple(Slow(*each) for each in recording.slowest()),
        client=ClientCheck.of(loop_lag, send_lag, cpu, answers),
        timeline=Timeline.of(recording, window_s),
    )


def _latency(recording: Recording) -> dict[str, Distribution]:
    ok = recording.answered
    return {
        "answer": _between(recording.intended, recording.ended, ok),
        "service": _between(recording.sent, recording.ended, ok),
        "first_beams": _between(recording.intended, recording.first_beams, ok),
        "first_provisional": _between(recording.intended, recording.first_provisional, ok),
    }


def _between(starts: array[float], ends: array[float], counted: array[int] | None = None) -> Distribution:
    rows = range(len(starts)) if counted is None else [row for row, each in enumerate(counted) if each]
    return Distribution.of((ends[row] - starts[row]) * 1e3 for row in rows)


def _errors(recording: Recording) -> tuple[ErrorCount, ...]:
    return tuple(
        ErrorCount(code, reason, count, recording.messages[code, reason])
        for (code, reason), count in recording.errors.most_common()
    )


def _groups(recording: Recording) -> tuple[Group, ...]:
    """None where no entry of the mix has a name."""
    if not any(recording.names):
        return ()
    groups = []
    for name, index in sorted(recording.names.items()):
        rows = [row for row, group in enumerate(recording.group) if group == index]
        took = [(recording.ended[row] - recording.intended[row]) * 1e3 for row in rows if recording.answered[row]]
        groups.append(Group(name or "(no name)", len(rows), len(took), Distribution.of(took)))
    return tuple(groups)
