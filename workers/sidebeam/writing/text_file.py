"""Texts on disk as they are written: whole lines that are only ever added, by one process."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sidebeam.writing.error import WritingError
from sidebeam.writing.terms import Terms, check

VERSION = 1
SYNC_S = 1.0  # of what was written, at most so much is lost with the machine's power


def about_path(path: Path) -> Path:
    """Where the terms of a file of texts stand: `texts.jsonl` has `texts.about.json`."""
    return path.with_name(f"{path.stem}.about.json")


class TextFile:
    """One line for each entity: its text, or why there is none. A context manager, which holds the file's lock.

    `done` are the entities that have a line. A process that dies leaves whole lines and part of one, which the next
    one cuts off.
    """

    def __init__(self, path: Path, terms: Terms, known: Collection[str], *, resume: bool) -> None:
        """A new file, or with `resume` the unfinished one that stands there; `known` are the entities it may have.

        Raises `WritingError` while another job writes, where texts are without `resume`, and with it where they were
        made of other things or are damaged; `OSError` if the disk does not take the terms. Then all is as it was.
        """
        self.path = path
        self.done: set[str] = set()
        self._file = _locked(path)
        self._fresh = not about_path(path).exists() and not os.fstat(self._file).st_size
        self._end = self._synced = 0
        self._synced_at = time.monotonic()
        try:
            if self._fresh:
                _write_terms(path, terms)
            elif not resume:
                raise WritingError(f"{path}: there already; continue it with --resume, or name another --out")
            else:
                check(terms, _read_terms(path), path)
                self._continue(known)
        except BaseException:
            self._discard()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not os.fstat(self._file).st_size:
            self._discard()
            return
        try:
            self._sync()
        finally:
            os.close(self._file)

    def add(self, entity: str, fields: Mapping[str, Any]) -> None:
        """One line. Raises `OSError` for a full disk, with the lines before whole and nothing after them."""
        line = json.dumps({"entity": entity, **fields}, ensure_ascii=False).encode() + b"\n"
        left = memoryview(line)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except BaseException as error:
            if os.fstat(self._file).st_size < self._end + len(line):
                os.ftruncate(self._file, self._end)
            else:  # Ctrl-C came after the last byte
                self._end += len(line)
            raise self._named(error) from None
        self._end += len(line)
        self.done.add(entity)
        if time.monotonic() - self._synced_at > SYNC_S:
            self._sync()

    def _sync(self) -> None:
        try:
            os.fsync(self._file)
        except OSError as error:  # some file systems learn only now that the disk is full
            os.ftruncate(self._file, self._synced)
            self._end = self._synced
            raise self._named(error) from None
        self._synced, self._synced_at = self._end, time.monotonic()

    def _named(self, error: BaseException) -> BaseException:
        """Writing through a number loses the file's name."""
        return OSError(error.errno, error.strerror, str(self.path)) if isinstance(error, OSError) else error

    def _continue(self, known: Collection[str]) -> None:
        """Take in what is whole, cut off what is not."""
        with os.fdopen(os.dup(self._file), "rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break
                fields = _fields(line)
                entity = fields.get("entity")
                if not isinstance(entity, str) or not ("text" in fields or "error" in fields):
                    raise WritingError(f"{self.path}, line {number}: damaged: neither a text nor an error of an entity")
                if entity not in known or entity in self.done:
                    fault = "stands there twice" if entity in self.done else "has no prompt"
                    raise WritingError(f"{self.path}, line {number}: damaged: entity {entity!r} {fault}")
                self.done.add(entity)
                self._end += len(line)
        os.ftruncate(self._file, self._end)
        self._synced = self._end

    def _discard(self) -> None:
        """Close, and remove what this object alone has made."""
        if self._fresh:
            self.path.unlink(missing_ok=True)
            about_path(self.path).unlink(missing_ok=True)
        os.close(self._file)


def _locked(path: Path) -> int:
    """The file, made if need be, for adding to its end; its lock lasts until it is closed, or the process dies."""
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise WritingError(f"{path}: cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            raise WritingError(f"{path}: another job is writing to it") from None
        if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
            return file
        os.close(file)  # whoever had it locked before has removed it


def _write_terms(path: Path, terms: Terms) -> None:
    about = about_path(path)
    partial = about.with_name(f".{about.name}.partial")
    told = {"format": "sidebeam texts", "version": VERSION, "options": dict(terms)}
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(json.dumps(told, ensure_ascii=False, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, about)
    finally:
        partial.unlink(missing_ok=True)


def _read_terms(path: Path) -> Terms:
    about = about_path(path)
    try:
        raw = json.loads(about.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WritingError(
            f"{path}: cannot be continued: {about.name}, which tells how it was begun, is missing"
        ) from None
    except (OSError, ValueError) as error:
        raise WritingError(f"{about}: cannot be read: {error}") from None
    if not isinstance(raw, dict) or raw.get("version") != VERSION or not isinstance(raw.get("options"), dict):
        raise WritingError(f"{about}: not the options of texts in version {VERSION}")
    options: Terms = raw["options"]
    return options


def _fields(line: bytes) -> dict[str, Any]:
    """Empty for what is no JSON object."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
