"""The table says what the texts say."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from sidebeam.client import RelaxedToken, Text
from sidebeam.client._events import StageTimes
from sidebeam.command.knowledge_story import RULE, by_the_rule
from sidebeam.command.text_comparison import ARMS, Arms, show


def _text(tokens: tuple[int, ...], passes: int, relaxed: tuple[RelaxedToken, ...] = ()) -> Text:
    return Text(
        text="",
        tokens=tokens,
        stop="end",
        passes=passes,
        rows=0,
        tiers={},
        verification="exact",
        relaxed=relaxed,
        divergence=0.0,
        sampled=None,
        draft_note="",
        pools_version="",
        times=StageTimes(*[0.0] * 7),
        request_id="",
    )


def _traded(rank: int, q: float) -> RelaxedToken:
    return RelaxedToken(position=3, token=1, argmax=2, rank=rank, q=q, q_max=0.5)


def _arms() -> Arms:
    arms = Arms()
    for tokens in ((1, 2, 3, 4), (5, 6, 7, 8)):
        arms.texts[ARMS[0]].append(_text(tokens, 4))
        arms.texts[ARMS[1]].append(_text(tokens, 1 if tokens[0] == 1 else 3))
        arms.texts[ARMS[2]].append(_text((1, 2, 3, 9), 1, (_traded(2, 0.2),)))
    arms.ms = {ARMS[0]: [10.0, 30.0], ARMS[1]: [4.0, 6.0], ARMS[2]: [2.0, 2.0]}
    return arms


def test_rows_are_ratios_to_no_drafts() -> None:
    arms = _arms()
    assert arms.row(ARMS[0]) == ("1.0", "4.0", "20", "1.0x", "1.0x")
    assert arms.row(ARMS[1]) == ("2.0", "2.0", "5", "2.0x", "4.0x")
    assert arms.row(ARMS[2]) == ("4.0", "1.0", "2", "4.0x", "10.0x")
    assert [arms.same(arm) for arm in ARMS] == [2, 2, 0]


def test_the_rule_is_checked_token_by_token() -> None:
    allowed, improbable, far = _traded(RULE.k, RULE.p + 0.01), _traded(RULE.k, RULE.p), _traded(RULE.k + 1, 0.4)
    assert by_the_rule(_text((1,), 1, (allowed, improbable, far, allowed))) == 2


def test_what_is_shown_fits_80_columns() -> None:
    out = StringIO()
    show(Console(file=out, width=80, highlight=False), {"users": _arms(), "items": _arms()})
    told = out.getvalue()
    assert max(map(len, told.splitlines())) <= 80
    assert "4 of 4 texts are those without drafts, token for token" in told
    joined = " ".join(told.split())
    assert "Relaxed, 0 of 4 are; 4 of 16 tokens were traded, 4 of them within the rule." in joined
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in told.splitlines() if line.startswith("│")]
    assert [row[0] for row in rows] == ["users", "", "", "items", "", ""]
    assert [row[1] for row in rows] == [*ARMS, *ARMS]
    assert rows[2][2:] == ["4.0", "1.0", "2", "4.0x", "10.0x"]
