"""What changed since the snapshots were made: records that are only ever added at the end of one file."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.error import PoolError, named

Ints = npt.NDArray[np.int32]

MAGIC = b"SIDEBEAM-JOURNAL-1\n"
FRAME = 8  # bytes before a record: its length, its CRC-32


@dataclass(frozen=True, slots=True)
class Change:
    """An entity's new text, in place of all that it had; or, without tokens, that it has none any more."""

    entity: str
    group: str | None
    tokens: Ints | None

    def encode(self) -> bytes:
        """As a record with its frame."""
        told = {"entity": self.entity, "group": self.group, "text": self.tokens is not None}
        head = json.dumps(told, ensure_ascii=False).encode()
        tokens = b"" if self.tokens is None else self.tokens.astype("<i4").tobytes()
        body = len(head).to_bytes(4, "little") + head + tokens
        return len(body).to_bytes(4, "little") + zlib.crc32(body).to_bytes(4, "little") + body

    @classmethod
    def decode(cls, body: bytes) -> Change:
        """From a record without its frame."""
        end = 4 + int.from_bytes(body[:4], "little")
        told = json.loads(body[4:end])
        tokens = np.frombuffer(body[end:], "<i4").astype(np.int32) if told["text"] else None
        return cls(told["entity"], told["group"], tokens)


def create_journal(path: Path) -> None:
    """An empty one. Raises `OSError` naming the file."""
    try:
        path.write_bytes(MAGIC)
    except OSError as error:
        raise named(error, path) from None


def read_journal(path: Path) -> tuple[list[Change], int]:
    """All whole records, and where they end: what a crash left after that is not counted.

    Raises `PoolError` for a file that is no journal, or is damaged before its end.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PoolError(f"{path}: cannot be read: {error.strerror}") from None
    if content[: len(MAGIC)] != MAGIC:
        raise PoolError(f"{path}: not a journal: it does not begin with {MAGIC!r}")
    changes, at = [], len(MAGIC)
    while at + FRAME <= len(content):
        end = at + FRAME + int.from_bytes(content[at : at + 4], "little")
        if end > len(content):
            break
        body = content[at + FRAME : end]
        if zlib.crc32(body) != int.from_bytes(content[at + 4 : at + FRAME], "little"):
            if end == len(content):
                break
            raise PoolError(f"{path}: damaged at byte {at:,}: a record is not what was written")
        changes.append(Change.decode(body))
        at = end
    return changes, at


def append(path: Path, end: int, changes: Sequence[Change]) -> int:
    """Adds records after byte `end`, all or none; returns the new end.

    Raises `OSError` naming the file, which is as it was.
    """
    records = b"".join(change.encode() for change in changes)
    with path.open("r+b", buffering=0) as file:
        try:
            file.truncate(end)
            file.seek(end)
            left = memoryview(records)
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except BaseException as error:
            file.truncate(end)
            raise named(error, path) from None
    return end + len(records)
