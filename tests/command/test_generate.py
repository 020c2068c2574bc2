"""`sidebeam generate` against a real server in another process."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest

from sidebeam.command.main import main
from sidebeam.v1 import knowledge_pb2 as pb
from sidebeam.v1 import recommendation_pb2

Capture = pytest.CaptureFixture[str]


def lines(text: str) -> list[dict[str, Any]]:
    """Parse one JSON object a line."""
    return [json.loads(line) for line in text.splitlines()]


def sent(address: str, capsys: Capture, *arguments: str) -> pb.GenerateRequest:
    """Return the request as the peer received it."""
    assert main(["generate", "--address", address, "--prompt", "echo", "--json", *arguments]) == 0
    return pb.GenerateRequest.FromString(bytes.fromhex(lines(capsys.readouterr().out)[-1]["pools_version"]))


def test_the_text_goes_to_stdout_and_its_cost_to_stderr(address: str, capsys: Capture) -> None:
    assert main(["generate", "--address", address, "--prompt", "stream"]) == 0
    output = capsys.readouterr()
    assert output.out == "likes häts.\n"
    (told,) = output.err.splitlines()
    for words in ("4 tokens in 2 passes (2.0 a pass), end", "entity 7 of 9, global 0 of 3", "17 ms", "1 relaxed tokens",
                  "seed 4611686018427387904", "pools: damaged", "request "):  # fmt: skip
        assert words in told


def test_json_prints_one_object_per_event(address: str, capsys: Capture) -> None:
    assert main(["generate", "--address", address, "--prompt", "stream", "--json"]) == 0
    *pieces, summary = lines(capsys.readouterr().out)
    assert pieces[0] == {"event": "piece", "text": "likes h", "tokens": [5, 6]}
    assert len(pieces) == 3
    assert summary["event"] == "summary"
    assert summary["tiers"] == {"entity": {"drafted": 9, "accepted": 7}, "global": {"drafted": 3, "accepted": 0}}
    assert summary["times_ms"]["total"] == 17.0


def test_every_argument_reaches_the_sidecar(address: str, capsys: Capture) -> None:
    relaxed = sent(
        address, capsys, "--entity", "u7", "--group", "hats", "--max-new-tokens", "30", "--learn", "--draft-rows", "8",
        "--verification", "relaxed", "--k", "3", "--p", "0", "--max-divergence", "2", "--keep-protected",
    )  # fmt: skip
    assert relaxed == pb.GenerateRequest(
        prompt="echo",
        entity_id="u7",
        group="hats",
        max_new_tokens=30,
        verification=pb.TEXT_VERIFICATION_RELAXED,
        relaxation=pb.Relaxation(k=3, p=0, keep_protected=True, max_divergence=2),
        draft=pb.TextDraftSettings(mode=recommendation_pb2.DRAFT_MODE_AUTO, rows=8),
        learn=True,
    )
    sampled = sent(
        address, capsys, "--verification", "sampled", "--temperature", "0.5", "--sample-top-k", "9", "--seed", "7",
        "--draft", "off",
    )  # fmt: skip
    assert sampled.sampling == pb.TextSampling(temperature=0.5, top_k=9, seed=7)
    assert sampled.draft.mode == recommendation_pb2.DRAFT_MODE_OFF


def test_a_prompt_can_come_from_standard_input(address: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", StringIO("stream"))
    assert main(["generate", "--address", address, "--prompt", "-"]) == 0
    assert capsys.readouterr().out == "likes häts.\n"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "--prompt"),
        (["--prompt", "x", "--tokens", "1"], "not allowed with"),
        (["--tokens", "1,x"], "'1,x'"),
        (["--prompt", "x", "--seed", "3"], "--seed need --verification sampled"),
        (["--prompt", "x", "--verification", "sampled", "--k", "3"], "--k need --verification relaxed"),
        (["--prompt", "x", "--draft", "off", "--draft-rows", "3"], "--draft-rows"),
        (["--prompt", "x", "--max-new-tokens", "-1"], "max_new_tokens: -1 is not within"),
        (["--prompt", "x", "--timeout-s", "0"], "timeout_s: 0.0 is not"),
    ],
)
def test_bad_arguments_return_2_and_name_themselves(
    address: str, capsys: Capture, arguments: list[str], word: str
) -> None:
    assert main(["generate", "--address", address, *arguments]) == 2
    output = capsys.readouterr()
    assert word in output.err
    assert output.out == ""


def test_an_invalid_request_returns_2_with_a_line_per_field(address: str, capsys: Capture) -> None:
    assert main(["generate", "--address", address, "--prompt", "invalid"]) == 2
    head, field = capsys.readouterr().err.splitlines()
    assert head.startswith("sidebeam generate: INVALID_ARGUMENT (request ")
    assert field == "  learn: must not be set here: no pools"


def test_a_text_that_breaks_off_returns_1(address: str, capsys: Capture) -> None:
    assert main(["generate", "--address", address, "--prompt", "lost"]) == 1
    output = capsys.readouterr()
    assert output.out == "likes\n"
    assert "UNAVAILABLE: " in output.err
    assert "try again in 1 s" in output.err
