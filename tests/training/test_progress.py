"""What the bar says of its pace."""

from __future__ import annotations

import time
from io import StringIO

import pytest
from rich.console import Console

from sidebeam.training import progress
from sidebeam.training.progress import ProgressBar


def test_what_is_slow_is_not_said_to_stand_still() -> None:
    with ProgressBar(Console(quiet=True)) as bar:
        bar.begin("texts", 9)
        time.sleep(0.3)
        bar.advance(1, "texts/s")
        assert bar.rate.endswith(" texts/s")
        assert 0 < float(bar.rate.removesuffix(" texts/s")) <= 1 / 0.3
        bar.advance(100_000, "texts/s")
        assert float(bar.rate.removesuffix(" texts/s").replace(",", "")) > 10


def test_where_there_is_no_terminal_a_line_is_printed_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    out = StringIO()
    with ProgressBar(Console(file=out)) as bar:
        bar.begin("target", 40)
        bar.step(2.5, 10)
        assert out.getvalue() == ""  # not yet
        monkeypatch.setattr(progress, "SILENCE_S", 0.0)
        bar.step(2.5, 10)
        assert out.getvalue().startswith("target: 2 of 40, loss 2.500, ")
        bar.begin("texts", 9)
        bar.advance(3, "texts/s")
        assert out.getvalue().splitlines()[1].startswith("texts: 3 of 9, ")
