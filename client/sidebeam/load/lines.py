"""Text files of one entry a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sidebeam.load.error import LoadError

SHOWN = 60  # characters of a bad value that an error repeats


def read_lines(option: str, path: Path) -> Iterator[tuple[int, str]]:
    """Lines that hold something, numbered from 1. Raises LoadError naming the option for a file that is no text."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise LoadError(f"{option} {path}: cannot be read: {reason}") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line


def shown(value: Any) -> str:
    """A value as errors repeat it."""
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
