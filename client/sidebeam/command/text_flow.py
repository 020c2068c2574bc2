"""A text that grows on a console, wrapped at words, with a mark wherever a pass of the target ended."""

from __future__ import annotations

import re

from rich.console import Console
from rich.text import Text

MARK = "│"
WIDTH = 80  # columns, at most


class TextFlow:
    """Prints pieces as they come; a word appears once it is whole."""

    def __init__(self, console: Console, *, indent: int = 4, marked: bool = True) -> None:
        self._console = console
        self._indent = " " * indent
        self._width = min(console.width, WIDTH)
        self._marked = marked
        self._word = Text()
        self._column = 0  # 0: nothing is on the line
        self._begun = False

    def grow(self, piece: str) -> None:
        """The text goes on with what one pass added; "" for a pass whose tokens cannot be read yet."""
        if self._begun and self._marked:
            self._word.append(MARK, "cyan")
        self._begun = True
        for part in re.findall(r"\s+|\S+", piece):
            if part.isspace():
                self._put()
            else:
                self._word.append(part)

    def end(self) -> None:
        """Prints what is left, and ends the line."""
        self._put()
        if self._column:
            self._console.print()
        self._column, self._begun = 0, False

    def _put(self) -> None:
        if not self._word:
            return
        if self._column and self._column + 1 + len(self._word) > self._width:
            self._console.print()
            self._column = 0
        gap = " " if self._column else self._indent
        self._console.print(Text(gap) + self._word, end="", soft_wrap=True)
        self._column += len(gap) + len(self._word)
        self._word = Text()
