"""`--fail-if`: a rule over the figures of a run.

A rule is FIGURE OP NUMBER, as `p99_ms>80` or `error_share>=1%`; the run fails if it is true of any step. OP is one of
>, >=, <, <=. FIGURE is a percentile, mean or maximum of the answers' latency (`p50_ms`, `p99_9_ms`, `mean_ms`,
`max_ms`), of another event's (`first_beams_p99_ms`), or one of COUNTS. A figure that was never measured fails its
rule, too: a server that answers nothing has no p99.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sidebeam.load.distribution import Distribution
from sidebeam.load.error import LoadError
from sidebeam.load.knee import Knee
from sidebeam.load.summary import EVENTS, Summary

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
SHARES: Mapping[str, Callable[[Summary], float | None]] = {
    "cut_short_share": lambda summary: summary.share(summary.cut_short),
    "error_share": lambda summary: summary.share(summary.failed),
    "missed_share": lambda summary: summary.share(summary.missed),
    "within_slo": lambda summary: summary.good_share,
}
COUNTS: Mapping[str, Callable[[Summary], float | None]] = {
    "errors": lambda summary: summary.failed,
    "missed": lambda summary: summary.missed,
    "answered_rps": lambda summary: summary.answered_rps,
    "goodput_rps": lambda summary: summary.goodput_rps,
    "client_cpu": lambda summary: summary.client.cpu,
    **SHARES,
}
NEED_SLO = ("within_slo", "goodput_rps")
KNEE = "knee_rps"
LAGS = ("loop_lag", "send_lag")

_RULE = re.compile(r"\s*([a-z0-9_]+)\s*(>=|<=|>|<)\s*([0-9.eE+-]+)\s*(%?)\s*")
_LATENCY = re.compile(rf"(?:({'|'.join((*EVENTS, *LAGS))})_)?(?:(mean|max)|p(\d{{1,2}}(?:_\d{{1,3}})?))_ms")


@dataclass(frozen=True, slots=True)
class Rule:
    """One `--fail-if`; `text` is as the user wrote it."""

    text: str
    figure: str
    operator: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Read a rule. Raises LoadError naming what of it is wrong and what may stand there."""
        match = _RULE.fullmatch(text)
        if match is None:
            raise _error(text, f"must be FIGURE OP NUMBER with OP one of {', '.join(OPERATORS)}, such as 'p99_ms>80'")
        figure, sign, number, percent = match.groups()
        if figure not in COUNTS and figure != KNEE and not _LATENCY.fullmatch(figure):
            known = [*COUNTS, KNEE, "p50_ms", "p99_ms", "mean_ms", "max_ms", *(f"{event}_p99_ms" for event in EVENTS)]
            near = difflib.get_close_matches(figure, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}, and other percentiles"
            raise _error(text, f"no figure {figure!r}; {hint}")
        try:
            limit = float(number)
        except ValueError:
            limit = math.nan
        if not math.isfinite(limit):
            raise _error(text, f"{number!r} is not a number")
        if percent and figure not in SHARES:
            raise _error(text, f"{figure} is no share; % goes with {', '.join(SHARES)}")
        limit = limit / 100 if percent else limit
        if figure in SHARES and not 0 <= limit <= 1:
            raise _error(text, f"{figure} lies between 0 and 1, or 0% and 100%; given {number}{percent}")
        return cls(text.strip(), figure, sign, limit)

    @property
    def needs_slo(self) -> bool:
        """Whether it says nothing without `--slo-ms`."""
        return self.figure in NEED_SLO

    def breaks(self, value: float | None) -> bool:
        """Whether a run with this value fails."""
        return value is None or OPERATORS[self.operator](value, self.limit)

    def value(self, summary: Summary) -> float | None:
        """The rule's figure of a step; None if it was not measured."""
        if self.figure in COUNTS:
            return COUNTS[self.figure](summary)
        match = _LATENCY.fullmatch(self.figure)
        assert match is not None
        event, extreme, percent = match.groups()
        durations = _durations(summary, event or "answer")
        if durations is None:
            return None
        if extreme:
            return durations.mean if extreme == "mean" else durations.highest
        return durations.percentile(float(percent.replace("_", ".")))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says of one step, or, with `step` "", of the whole run."""

    rule: Rule
    step: str
    value: float | None
    broken: bool

    def __str__(self) -> str:
        at = f" at {self.step}" if self.step else ""
        value = "was not measured" if self.value is None else f"is {self.value:.4g}"
        return f"--fail-if '{self.rule.text}' {'FAILED' if self.broken else 'passed'}{at}: {self.rule.figure} {value}"


def judge(rules: Sequence[Rule], summaries: Sequence[Summary], knee: Knee | None) -> list[Verdict]:
    """Hold every rule against every step; `knee_rps` against the run."""
    verdicts = []
    for rule in rules:
        if rule.figure == KNEE:
            rate = knee.rate if knee is not None else None
            verdicts.append(Verdict(rule, "", rate, rule.breaks(rate)))
            continue
        for summary in summaries:
            value = rule.value(summary)
            verdicts.append(Verdict(rule, summary.plan.title, value, rule.breaks(value)))
    return verdicts


def _durations(summary: Summary, event: str) -> Distribution | None:
    if event in LAGS:
        return summary.client.loop_lag if event == "loop_lag" else summary.client.send_lag
    return summary.latency[event]


def _error(text: str, problem: str) -> LoadError:
    return LoadError(f"--fail-if {text!r}: {problem}")
