"""A segment on disk: a checked header that names the arrays, then the arrays, ready to be memory-mapped."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from sidebeam.knowledge.error import PoolError, named
from sidebeam.knowledge.segment import Segment

MAGIC = b"SIDEBEAM-POOL-1\n"
ALIGNMENT = 64  # a cache line
DIGEST = 32  # bytes of a SHA-256
ARRAYS = {"index": "<u4", "starts": "<i8", "name_ends": "<i8", "names": "|u1"}


def write_segment(path: Path, segment: Segment, fingerprint: str) -> None:
    """Writes the file whole or not at all. Equal segments give equal bytes."""
    entries: dict[str, dict[str, Any]] = {}
    offset, digest = 0, hashlib.sha256()
    for name, kind in ARRAYS.items():
        array = getattr(segment, name)
        entries[name] = {"dtype": kind, "length": len(array), "offset": offset}
        padding = -array.nbytes % ALIGNMENT
        digest.update(_bytes(array, kind))
        digest.update(b"\0" * padding)
        offset += array.nbytes + padding
    told = {"fingerprint": fingerprint, "bytes": offset, "sha256": digest.hexdigest(), "arrays": entries}
    header = json.dumps(told).encode()
    preamble = MAGIC + hashlib.sha256(header).digest() + len(header).to_bytes(8, "little") + header
    with replacing(path) as out:
        out.write(preamble + b"\0" * (-len(preamble) % ALIGNMENT))
        for name, kind in ARRAYS.items():
            array = getattr(segment, name)
            out.write(_bytes(array, kind))
            out.write(b"\0" * (-array.nbytes % ALIGNMENT))


def read_segment(path: Path, fingerprint: str) -> Segment:
    """Maps a file and checks all of it.

    Raises `PoolError` naming the file and what is wrong: missing, cut short, damaged, or of another tokenizer.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(len(MAGIC) + DIGEST + 8)
            length = int.from_bytes(start[len(MAGIC) + DIGEST :], "little")
            header = file.read(length) if length < size else b""
    except OSError as error:
        raise PoolError(f"{path}: cannot be read: {error.strerror}") from None
    if start[: len(MAGIC)] != MAGIC:
        raise PoolError(f"{path}: not a pool file: it does not begin with {MAGIC!r}")
    if hashlib.sha256(header).digest() != start[len(MAGIC) : len(MAGIC) + DIGEST]:
        raise PoolError(f"{path}: damaged or cut short: its header is not what was written")
    told = json.loads(header)
    if told["fingerprint"] != fingerprint:
        raise PoolError(
            f"{path}: made with another tokenizer, of fingerprint {told['fingerprint']}; this one's is {fingerprint}"
        )
    base = -(-(len(start) + length) // ALIGNMENT) * ALIGNMENT
    if size != base + told["bytes"]:
        raise PoolError(f"{path}: cut short or grown: {size:,} of {base + told['bytes']:,} bytes")
    mapped = np.memmap(path, dtype=np.uint8, mode="r")
    if hashlib.sha256(mapped[base:].data).hexdigest() != told["sha256"]:
        raise PoolError(f"{path}: damaged: its content is not what was written")
    arrays = {}
    for name, entry in told["arrays"].items():
        kind = np.dtype(entry["dtype"])
        first = base + entry["offset"]
        arrays[name] = np.asarray(mapped[first : first + entry["length"] * kind.itemsize]).view(kind)
    return Segment(**arrays)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` once it is written whole; on any error nothing stays of it."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as out:
            try:
                yield out
                out.flush()
                os.fsync(out.fileno())
                os.replace(out.name, path)
            except BaseException:
                os.unlink(out.name)
                raise
    except OSError as error:  # closing the file may fail once more
        raise named(error, path) from None
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _bytes(array: Any, kind: str) -> memoryview:
    return np.ascontiguousarray(array, np.dtype(kind)).data.cast("B") if len(array) else memoryview(b"")
