"""The prompts of a job: what they are about is in memory, what they say stays in the file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from sidebeam.grouping.error import GroupingError, shown
from sidebeam.grouping.lines import Line
from sidebeam.writing.error import WritingError


@dataclass(frozen=True, slots=True)
class Prompt:
    """Whom or what a line is about, and where it stands; `group` None: nobody says."""

    entity: str
    group: str | None
    number: int  # of the line, from 1
    start: int  # byte
    size: int  # bytes


class PromptList:
    """A file of `{"entity": id, "prompt": text}` per line; `"group": name` may follow. A context manager."""

    def __init__(self, path: Path, file: IO[bytes], groups: Mapping[str, str]) -> None:
        """`groups` are those of entities whose line names none. Raises `WritingError` as `open` does."""
        self.path = path
        self._file = file
        digest = hashlib.sha256()
        self.prompts: list[Prompt] = []
        lines: dict[str, int] = {}
        start = 0
        for number, line in enumerate(file, start=1):
            digest.update(line)
            if line.strip():
                entity, group = self._read(number, line)
                if entity in lines:
                    first = lines[entity]
                    raise WritingError(
                        f"{self._at(number)}: entity {entity!r} stands in the file twice, first in line {first}"
                    )
                lines[entity] = number
                self.prompts.append(Prompt(entity, group or groups.get(entity), number, start, len(line)))
            start += len(line)
        if not lines:
            raise WritingError(f"{path}: holds no prompts")
        self.entities = lines.keys()
        self.sha256 = digest.hexdigest()

    @classmethod
    def open(cls, path: Path, groups: Mapping[str, str]) -> Self:
        """Reads all lines once.

        Raises `WritingError` naming file, line and value for what is no such line, and for a repeated entity.
        """
        try:
            file = path.open("rb")
            try:
                return cls(path, file, groups)
            except BaseException:
                file.close()
                raise
        except OSError as error:
            raise WritingError(f"{path}: cannot be read: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def text(self, prompt: Prompt) -> str:
        """What a line asks. Raises `WritingError` if the file was changed since it was opened."""
        line = os.pread(self._file.fileno(), prompt.size, prompt.start)
        fields = self._fields(prompt.number, line)
        if str(fields.get("entity")) != prompt.entity or not isinstance(fields.get("prompt"), str):
            raise WritingError(f"{self._at(prompt.number)}: the file was changed while it was used")
        text: str = fields["prompt"]
        return text

    def _read(self, number: int, raw: bytes) -> tuple[str, str | None]:
        line = Line(self._at(number), self._fields(number, raw))
        try:
            entity = line.identifier("entity")
            line.text("prompt")
            group = None if line.fields.get("group") is None else line.text("group")
        except GroupingError as error:
            raise WritingError(str(error)) from None
        for name in (entity, group or ""):
            if any("\ud800" <= letter <= "\udfff" for letter in name):
                raise WritingError(f"{line.place}: {shown(name)} is not valid Unicode")
        return entity, group

    def _fields(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
            told = shown(line.decode(errors="replace").rstrip())
            raise WritingError(f"{self._at(number)}: not JSON: {reason}: {told}") from None
        if not isinstance(fields, dict):
            raise WritingError(f"{self._at(number)}: must be a JSON object; given {shown(fields)}")
        return fields

    def _at(self, number: int) -> str:
        return f"{self.path}, line {number}"
