"""--fail-if: what it may say, and what it makes of a run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sidebeam.load.error import LoadError
from sidebeam.load.knee import Knee
from sidebeam.load.rule import Rule, judge
from sidebeam.load.summary import Summary


@pytest.mark.parametrize(
    ("text", "figure", "sign", "limit"),
    [
        ("p99_ms>80", "p99_ms", ">", 80.0),
        (" p99_9_ms >= 1e3 ", "p99_9_ms", ">=", 1000.0),
        ("mean_ms<0.5", "mean_ms", "<", 0.5),
        ("first_beams_p50_ms>10", "first_beams_p50_ms", ">", 10.0),
        ("first_provisional_max_ms>10", "first_provisional_max_ms", ">", 10.0),
        ("service_p90_ms>10", "service_p90_ms", ">", 10.0),
        ("send_lag_p99_ms>10", "send_lag_p99_ms", ">", 10.0),
        ("error_share>1%", "error_share", ">", 0.01),
        ("error_share>0.01", "error_share", ">", 0.01),
        ("within_slo<=99.9%", "within_slo", "<=", 0.999),
        ("knee_rps<40", "knee_rps", "<", 40.0),
        ("missed>0", "missed", ">", 0.0),
    ],
)
def test_good_rules(text: str, figure: str, sign: str, limit: float) -> None:
    rule = Rule.parse(text)
    assert (rule.figure, rule.operator, rule.limit) == (figure, sign, pytest.approx(limit))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must be FIGURE OP NUMBER"),
        ("p99_ms", "must be FIGURE OP NUMBER with OP one of >=, <=, >, <"),
        ("p99_ms=80", "must be FIGURE OP NUMBER"),
        ("p99_ms>80ms", "must be FIGURE OP NUMBER"),
        ("80>p99_ms", "must be FIGURE OP NUMBER"),
        ("80>90", "no figure '80'; there are errors, missed"),
        ("p99_ms>80 and errors>1", "must be FIGURE OP NUMBER"),
        ("p99>80", "no figure 'p99'; did you mean 'p99_ms'"),
        ("p999_ms>80", "no figure 'p999_ms'"),
        ("last_beams_p99_ms>80", "no figure 'last_beams_p99_ms'; did you mean 'first_beams_p99_ms'"),
        ("p99_ms>e", "'e' is not a number"),
        ("p99_ms>1e999", "'1e999' is not a number"),
        ("p99_ms>80%", "p99_ms is no share; % goes with"),
        ("error_share>2", "error_share lies between 0 and 1, or 0% and 100%; given 2"),
        ("error_share>200%", "error_share lies between 0 and 1, or 0% and 100%; given 200%"),
    ],
)
def test_bad_rules_say_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(LoadError) as caught:
        Rule.parse(text)
    assert str(caught.value).startswith(f"--fail-if {text!r}: ")
    assert problem in str(caught.value)


def test_rules_hold_against_every_figure(summary: Callable[..., Summary]) -> None:
    outcomes = [{"took_ms": float(i)} for i in range(1, 101)]
    outcomes[9] |= {"code": "UNAVAILABLE"}
    measured = summary(outcomes, slo_ms=50.0)
    values = {
        "p50_ms": 51.0,  # 10 is missing among the answers
        "p99_ms": 100.0,
        "max_ms": 100.0,
        "errors": 1,
        "error_share": 0.01,
        "missed_share": 0.0,
        "within_slo": 0.49,
        "goodput_rps": 4.9,
        "loop_lag_p99_ms": 0.1,
        "send_lag_max_ms": 0.0,
        "client_cpu": 0.2,
        "first_beams_p99_ms": None,
    }
    for figure, value in values.items():
        found = Rule.parse(f"{figure}>0").value(measured)
        assert found == (None if value is None else pytest.approx(value, abs=1e-6)), figure


@pytest.mark.parametrize(("sign", "broken"), [(">", False), (">=", True), ("<", False), ("<=", True)])
def test_a_rule_at_its_limit(sign: str, broken: bool) -> None:
    assert Rule.parse(f"errors{sign}3").breaks(3) == broken


def test_what_was_not_measured_fails() -> None:
    assert Rule.parse("p99_ms>80").breaks(None)
    assert Rule.parse("p99_ms<80").breaks(None)


def test_a_sweep_is_judged_rate_by_rate_and_its_knee_once(summary: Callable[..., Summary]) -> None:
    quick, slow = summary([{}] * 10, rate=10.0), summary([{"took_ms": 90.0}] * 10, rate=20.0)
    knee = Knee(10.0, 20.0, "it is slow", True)
    verdicts = judge([Rule.parse("p99_ms>80"), Rule.parse("knee_rps<15")], [quick, slow], knee)
    assert [(verdict.step, verdict.broken) for verdict in verdicts] == [
        ("10 requests/s", False),
        ("20 requests/s", True),
        ("", True),
    ]
    assert str(verdicts[1]) == "--fail-if 'p99_ms>80' FAILED at 20 requests/s: p99_ms is 90"
