"""Vectors of entities, and the files that hold them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sidebeam.grouping.error import GroupingError, shown
from sidebeam.grouping.lines import checked_id

Vectors = npt.NDArray[np.float32]
ENDINGS = (".npz", ".npy", ".safetensors")


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector per entity.  # [entities, dimensions], finite"""

    ids: tuple[str, ...]
    vectors: Vectors

    @classmethod
    def open(cls, path: Path) -> Embeddings:
        """Reads a file by its ending. Nothing is ever unpickled.

        `.npz`: arrays `ids` (texts or integers) and `vectors`. `.npy`: the vectors; ids as a JSON list in the file of
        the same name with `.ids.json` in place of `.npy`. `.safetensors`: the tensor `vectors`; ids as a JSON list in
        the header's metadata under `ids`. Raises `GroupingError` naming file, place and value.
        """
        readers = {".npz": _read_npz, ".npy": _read_npy, ".safetensors": _read_safetensors}
        if path.suffix not in readers:
            raise GroupingError(f"--embeddings must end in {', '.join(ENDINGS)}; given {path}")
        try:
            ids, vectors = readers[path.suffix](path)
        except GroupingError:
            raise
        except OSError as error:
            raise GroupingError(f"{path}: cannot be read: {error.strerror or error}") from None
        except Exception as error:  # what a damaged file raises depends on where the damage is
            raise GroupingError(f"{path}: cannot be read: {str(error).strip() or type(error).__name__}") from None
        return cls(_checked_ids(path, ids), _checked_vectors(path, vectors, len(ids)))

    def write(self, path: Path) -> None:
        """Writes an `.npz` file that `open` reads, whole or not at all. Raises `GroupingError` for another ending."""
        if path.suffix != ".npz":
            raise GroupingError(f"--save-embeddings must end in .npz; given {path}")
        partial = path.with_name(f".{path.name}.partial")
        try:
            with partial.open("wb") as file:
                np.savez(file, ids=np.array(self.ids), vectors=self.vectors)
            os.replace(partial, path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise GroupingError(f"{path}: cannot be written: {error.strerror or error}") from None


def _read_npz(path: Path) -> tuple[Sequence[object], npt.NDArray[np.generic]]:
    with np.load(path, allow_pickle=False) as arrays:
        for name in ("ids", "vectors"):
            if name not in arrays:
                raise GroupingError(f"{path}: must hold the array {name!r}; there are {', '.join(arrays) or 'none'}")
        return arrays["ids"].ravel().tolist(), arrays["vectors"]


def _read_npy(path: Path) -> tuple[Sequence[object], npt.NDArray[np.generic]]:
    beside = path.with_suffix(".ids.json")
    if not beside.is_file():
        raise GroupingError(f"{path}: the ids must stand beside it, a JSON list in {beside.name}, which is missing")
    ids = json.loads(beside.read_text(encoding="utf-8"))
    if not isinstance(ids, list):
        raise GroupingError(f"{beside}: must hold a JSON list of ids; given {shown(ids)}")
    vectors: npt.NDArray[np.generic] = np.load(path, allow_pickle=False)
    return ids, vectors


def _read_safetensors(path: Path) -> tuple[Sequence[object], npt.NDArray[np.generic]]:
    from safetensors import safe_open

    if not path.is_file():
        raise FileNotFoundError(2, "No such file or directory")
    with safe_open(str(path), framework="pt") as file:
        if "vectors" not in file.keys():  # noqa: SIM118, a safetensors file has no `in`
            raise GroupingError(f"{path}: must hold the tensor 'vectors'; there are {', '.join(file.keys()) or 'none'}")
        ids = json.loads((file.metadata() or {}).get("ids", "null"))
        if not isinstance(ids, list):
            raise GroupingError(f"{path}: its metadata must hold 'ids', a JSON list as text; given {shown(ids)}")
        vectors: npt.NDArray[np.generic] = file.get_tensor("vectors").float().numpy()
        return ids, vectors


def _checked_ids(path: Path, ids: Sequence[object]) -> tuple[str, ...]:
    checked = tuple(checked_id(f"{path}, id {place}", each) for place, each in enumerate(ids))
    seen: set[str] = set()
    for place, each in enumerate(checked):
        if each in seen:
            raise GroupingError(f"{path}, id {place}: {each!r} stands in the file twice")
        seen.add(each)
    return checked


def _checked_vectors(path: Path, vectors: npt.NDArray[np.generic], ids: int) -> Vectors:
    if vectors.ndim != 2 or not vectors.size or not np.issubdtype(vectors.dtype, np.number):
        raise GroupingError(
            f"{path}, vectors: must be numbers, [entities, dimensions]; given {vectors.dtype}, {list(vectors.shape)}"
        )
    if len(vectors) != ids:
        raise GroupingError(f"{path}: must hold one vector per id; given {len(vectors)} vectors and {ids} ids")
    numbers = np.asarray(vectors, dtype=np.float32)
    finite = np.isfinite(numbers).all(axis=1)
    if not finite.all():
        raise GroupingError(f"{path}, vector {int(np.argmin(finite))}: must be finite numbers")
    return numbers
