"""Where a report goes: seen to be writable before anything is measured, filled at the end or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

PARTIAL = ".partial"


class FolderError(Exception):
    """A report cannot go where `--report` says; the message is the whole sentence."""


class ReportFolder:
    """A context manager: makes the folder with its parents, and takes away what it made if nothing was written."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        """`names` are the files that may be written."""
        self._path = path
        self._names = names
        self._made: list[Path] = []  # outermost first
        self._written = False

    def __enter__(self) -> Self:
        """Raises FolderError if the folder cannot be made or written to."""
        if self._path.exists() and not self._path.is_dir():
            raise FolderError(f"--report must be a folder; given {self._path}, which is a file")
        for name in self._names:
            if (self._path / name).is_dir():
                raise FolderError(
                    f"--report must have room for a file {name}; given {self._path}, where it is a folder"
                )
        missing = [path for path in (self._path, *self._path.parents) if not path.exists()]
        try:
            for path in reversed(missing):
                path.mkdir()
                self._made.append(path)
            with tempfile.TemporaryFile(dir=self._path):
                pass
        except OSError as error:
            self._remove()
            raise self._refusal(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._written:
            self._remove()

    def write(self, texts: Mapping[str, str]) -> None:
        """Write all files, by name, or none of them. Raises FolderError if the disk does not take them."""
        partial = {self._path / f"{name}{PARTIAL}": self._path / name for name in texts}
        try:
            for path, text in zip(partial, texts.values(), strict=True):
                path.write_text(text, encoding="utf-8")
            for path, final in partial.items():
                os.replace(path, final)
        except OSError as error:
            raise self._refusal(error) from error
        finally:
            for path in partial:
                with contextlib.suppress(OSError):
                    path.unlink()
        self._written = True

    def _refusal(self, error: OSError) -> FolderError:
        return FolderError(f"--report must be a folder that can be written to; given {self._path}: {error.strerror}")

    def _remove(self) -> None:
        while self._made:
            try:
                self._made.pop().rmdir()
            except OSError:  # somebody has put something into it
                return
