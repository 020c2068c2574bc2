"""A growing text: whole words, no line too long, a mark for each pass."""

from __future__ import annotations

import random
from io import StringIO

import pytest
from rich.console import Console

from sidebeam.command.text_flow import MARK, WIDTH, TextFlow

STORY = "This customer lives for the sewing aisle, and takes brass, as it rings when set down [like] a bell. " * 3


def _shown(pieces: list[str], *, marked: bool = True, width: int = 120) -> list[str]:
    out = StringIO()
    flow = TextFlow(Console(file=out, width=width, highlight=False), marked=marked)
    for piece in pieces:
        flow.grow(piece)
    flow.end()
    return out.getvalue().splitlines()


def _pieces(seed: int) -> list[str]:
    """The story cut anywhere, as tokens are."""
    cuts = sorted(random.Random(seed).sample(range(1, len(STORY)), 40))
    return [STORY[start:end] for start, end in zip([0, *cuts], [*cuts, len(STORY)], strict=True)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("width", [50, 120])
def test_every_word_is_there_and_no_line_is_too_long(seed: int, width: int) -> None:
    pieces = _pieces(seed)
    lines = _shown(pieces, width=width)
    assert " ".join(" ".join(lines).replace(MARK, "").split()) == STORY.strip()
    assert " ".join(lines).count(MARK) == len(pieces) - 1
    assert max(map(len, lines)) <= min(width, WIDTH)
    assert all(line.startswith("    ") and not line.startswith("     ") for line in lines)
    assert len(lines) < 1.4 * len(STORY) / (min(width, WIDTH) - 4) + 1


def test_marks_stand_where_a_pass_ended() -> None:
    assert _shown(["A red", " bo", "", "at", ""]) == [f"    A red{MARK} bo{MARK}{MARK}at{MARK}"]
    assert _shown(["A red", " bo", "at"], marked=False) == ["    A red boat"]


def test_words_appear_once_they_are_whole() -> None:
    out = StringIO()
    flow = TextFlow(Console(file=out, width=80))
    flow.grow("A red")
    assert out.getvalue() == "    A"
    flow.grow(" boat")
    assert out.getvalue() == f"    A red{MARK}"
    flow.end()
    flow.end()
    assert out.getvalue() == f"    A red{MARK} boat\n"


def test_a_word_longer_than_a_line_is_not_lost() -> None:
    assert _shown(["short " + "x" * 100 + " end"]) == ["    short", "    " + "x" * 100, "    end"]
