"""Progress on a terminal, where there is none, and when a measurement fails."""

from __future__ import annotations

import io
import sys

import pytest

from sidebeam.page import progress_line
from sidebeam.page.progress_line import ProgressLine


class Terminal(io.StringIO):
    """Takes what is printed, as a terminal would."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_has_one_line_which_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())

    def measure() -> None:
        with ProgressLine() as progress:
            progress("warms up")
            progress("1 of 9")
            raise ValueError("nobody answers")

    with pytest.raises(ValueError, match="nobody answers"):
        measure()
    assert sys.stderr.getvalue() == "\r\033[Kwarms up\r\033[K1 of 9\r\033[K"


def test_elsewhere_silence_is_broken_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(progress_line.time, "monotonic", lambda: now)
    with ProgressLine() as progress:
        for i in range(90):
            progress(f"{i} of 90")
            now += 1
    assert capsys.readouterr().err == "20 of 90\n40 of 90\n60 of 90\n80 of 90\n"
