"""The compiled catalog on disk: a header that names the arrays, then the arrays, ready to be memory-mapped."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

MAGIC = b"SIDEBEAM-CATALOG-1\n"
ALIGNMENT = 64  # a cache line

AnyInts = npt.NDArray[np.integer]


class CatalogFileError(ValueError):
    """The file is not a compiled catalog, or it is damaged; the message names it."""


def write_arrays(path: Path, version: str, arrays: dict[str, AnyInts]) -> None:
    """Write the arrays beside `path`, then rename, so that a reader never sees half a file."""
    entries: dict[str, dict[str, Any]] = {}
    offset = 0
    for name, array in arrays.items():
        entries[name] = {"dtype": array.dtype.str, "shape": list(array.shape), "offset": offset}
        offset += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
    header = json.dumps({"version": version, "bytes": offset, "arrays": entries}).encode()
    preamble = MAGIC + len(header).to_bytes(8, "little") + header
    preamble += b"\0" * (-len(preamble) % ALIGNMENT)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as out:
        try:
            out.write(preamble)
            for array in arrays.values():
                out.write(np.ascontiguousarray(array).tobytes())
                out.write(b"\0" * (-array.nbytes % ALIGNMENT))
            out.flush()
            os.fsync(out.fileno())
            os.replace(out.name, path)
        except BaseException:
            os.unlink(out.name)
            raise


def read_arrays(path: Path) -> tuple[str, dict[str, AnyInts]]:
    """Map a file. Returns the content version and the arrays, read-only."""
    try:
        mapped = np.memmap(path, dtype=np.uint8, mode="r")
    except ValueError as error:  # an empty file cannot be mapped
        raise CatalogFileError(f"{path} is not a compiled catalog: it is empty") from error
    start = len(MAGIC) + 8
    if mapped[: len(MAGIC)].tobytes() != MAGIC:
        raise CatalogFileError(f"{path} is not a compiled catalog: it does not begin with {MAGIC!r}")
    header_size = int.from_bytes(mapped[len(MAGIC) : start].tobytes(), "little")
    try:
        header = json.loads(mapped[start : start + header_size].tobytes())
    except ValueError as error:
        raise CatalogFileError(f"{path} has a damaged header") from error
    base = -(-(start + header_size) // ALIGNMENT) * ALIGNMENT
    if len(mapped) < base + header["bytes"]:
        raise CatalogFileError(f"{path} is cut short: {len(mapped)} of {base + header['bytes']} bytes")
    arrays: dict[str, AnyInts] = {}
    for name, entry in header["arrays"].items():
        dtype, shape, offset = np.dtype(entry["dtype"]), tuple(entry["shape"]), base + entry["offset"]
        size = int(np.prod(shape)) * dtype.itemsize
        arrays[name] = np.asarray(mapped[offset : offset + size]).view(dtype).reshape(shape)
    return header["version"], arrays
