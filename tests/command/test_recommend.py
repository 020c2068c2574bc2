"""`sidebeam recommend` against a real server in another process."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidebeam.command.main import main
from sidebeam.v1 import recommendation_pb2 as pb

Capture = pytest.CaptureFixture[str]


def lines(text: str) -> list[dict[str, Any]]:
    """Parse one JSON object a line."""
    return [json.loads(line) for line in text.splitlines()]


def sent(address: str, capsys: Capture, *arguments: str) -> pb.RecommendRequest:
    """Return the request as the peer received it."""
    assert main(["recommend", "--address", address, "--prompt", "echo", "--json", *arguments]) == 0
    return pb.RecommendRequest.FromString(bytes.fromhex(lines(capsys.readouterr().out)[-1]["catalog_version"]))


def test_json_prints_one_object_per_event(address: str, capsys: Capture) -> None:
    assert main(["recommend", "--address", address, "--history", "12,55,9", "--top-k", "3", "--json"]) == 0
    output = capsys.readouterr()
    provisional, first, second, final = lines(output.out)
    item = {"item_id": "item-1", "sid": ["<a_1>", "<b_7>"], "log_prob": -0.25, "rank": 1, "verified": 2}
    assert provisional["event"] == "provisional"
    assert provisional["items"][0] == item
    assert first == {
        "event": "beams",
        "depth": 1,
        "beams": [{"sid": ["<a_0>"], "log_prob": -0.5}, {"sid": ["<a_1>"], "log_prob": -1.0}],
    }
    assert second["depth"] == 2
    assert final.pop("items")[0] == item
    assert len(final.pop("request_id")) > 0
    times = {"prompt": 1.0, "admission": 2.0, "draft": 3.0, "queue": 4.0, "pass": 5.5, "search": 6.0, "total": 17.0}
    assert final == {
        "event": "final",
        "passes": 2,
        "rows": 61,
        "drafted": 40,
        "accepted": 30,
        "scoring": "raw",
        "search": "exact",
        "catalog_version": "c0ffee",
        "times_ms": times,
        "sampling": None,
        "cut_short": False,
    }
    assert output.err == ""


def test_text_shows_each_event_and_a_table(address: str, capsys: Capture) -> None:
    assert main(["recommend", "--address", address, "--history", "12,55,9"]) == 0
    output = capsys.readouterr().out
    for text in ("provisional  item-1, item-2", "depth 1", "<a_0><a_0> -0.50", "2 passes, 61 rows, 30 of 40 drafted"):
        assert text in output
    table = output.splitlines()[output.splitlines().index("  rank  item    log-prob  SID") :][:4]
    assert table[1:] == [
        "     1  item-1   -0.2500  <a_1><b_7>",
        "     2  item-2   -0.5000  <a_2><b_7>",
        "     3  item-3   -0.7500  <a_3><b_7>",
    ]


def test_an_answer_cut_short_shows_what_is_verified(address: str, capsys: Capture) -> None:
    assert main(["recommend", "--address", address, "--prompt", "cut", "--on-deadline", "best-so-far"]) == 0
    output = capsys.readouterr().out
    said = ("-0.2500  <a_1><b_7>\n", "-0.5000  <a_2>|<b_7>\n", "-0.7500  |<a_3><b_7>\n", "cut short by the deadline")
    for text in said:
        assert text in output
    assert "passes" not in output


def test_long_rankings_are_previewed(address: str, capsys: Capture) -> None:
    assert main(["recommend", "--address", address, "--prompt", "many 8"]) == 0
    assert "and 3 more" in capsys.readouterr().out


def test_every_argument_reaches_the_sidecar(address: str, capsys: Capture) -> None:
    request = sent(address, capsys, "--top-k", "7", "--exclude", "7, 8", "--draft", "off", "--search", "exact")
    assert request == pb.RecommendRequest(
        prompt="echo",
        top_k=7,
        excluded_item_ids=["7", "8"],
        draft=pb.DraftSettings(mode=pb.DRAFT_MODE_OFF),
        search=pb.SEARCH_EXACT,
        on_deadline=pb.ON_DEADLINE_FAIL,
    )


def test_explicit_draft_settings_reach_the_sidecar(address: str, capsys: Capture) -> None:
    request = sent(address, capsys, "--draft-beams", "40", "--draft-length", "3", "--drafter", "catalog")
    assert request.draft == pb.DraftSettings(
        mode=pb.DRAFT_MODE_EXPLICIT, beams=40, length=3, drafter=pb.DRAFTER_CATALOG
    )


def test_a_draw_reaches_the_sidecar(address: str, capsys: Capture) -> None:
    request = sent(address, capsys, "--verification", "relaxed", "--temperature", "0.5", "--seed", "7")
    assert request.verification == pb.VERIFICATION_RELAXED
    assert request.sampling == pb.Sampling(temperature=0.5, seed=7)
    plain = sent(address, capsys, "--verification", "relaxed", "--sample-top-k", "50")
    assert plain.sampling == pb.Sampling(temperature=1, top_k=50)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "--history"),
        (["--history", "1", "--seed", "3"], "--seed need"),
        (["--history", "1", "--verification", "loose"], "'loose'"),
        (["--history", "1", "--prompt", "x"], "not allowed with"),
        (["--history", "1,,2"], "'1,,2'"),
        (["--tokens", "1,x"], "'1,x'"),
        (["--history", "1", "--draft", "maybe"], "'maybe'"),
        (["--history", "1", "--draft", "off", "--draft-beams", "4"], "--draft-beams"),
        (["--history", "1", "--top-k", "ten"], "'ten'"),
        (["--history", "1", "--top-k", "-1"], "top_k: -1 is not within"),
        (["--history", "1", "--timeout-s", "0"], "timeout_s: 0.0 is not"),
    ],
)
def test_bad_arguments_return_2_and_name_themselves(
    address: str, capsys: Capture, arguments: list[str], word: str
) -> None:
    assert main(["recommend", "--address", address, *arguments]) == 2
    output = capsys.readouterr()
    assert word in output.err
    assert output.out == ""


def test_an_invalid_request_returns_2_with_a_line_per_field(address: str, capsys: Capture) -> None:
    assert main(["recommend", "--address", address, "--prompt", "invalid", "--json"]) == 2
    output = capsys.readouterr()
    head, *fields = output.err.splitlines()
    assert head.startswith("sidebeam recommend: INVALID_ARGUMENT (request ")
    assert fields == ["  history.item_ids[1]: no item '99' in the catalog", "  top_k: 0 is below 1"]
    assert output.out == ""


@pytest.mark.parametrize(
    ("prompt", "word"),
    [
        ("overloaded", "RESOURCE_EXHAUSTED: no room; try again in 1.25 s"),
        ("silent", "DEADLINE_EXCEEDED: "),
        ("status 13", "INTERNAL: as asked"),
        ("no_answer", "ended without an answer"),
    ],
)
def test_a_failure_returns_1_and_is_told_on_stderr(address: str, capsys: Capture, prompt: str, word: str) -> None:
    assert main(["recommend", "--address", address, "--prompt", prompt, "--timeout-s", "0.5", "--json"]) == 1
    output = capsys.readouterr()
    assert word in output.err
    assert all(line["event"] == "beams" for line in lines(output.out))


def test_nobody_listening_is_one_line(capsys: Capture) -> None:
    assert main(["recommend", "--address", "127.0.0.1:1", "--history", "1"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("sidebeam recommend: UNAVAILABLE: 127.0.0.1:1: no sidecar answers there")
    assert error.count("\n") == 1
