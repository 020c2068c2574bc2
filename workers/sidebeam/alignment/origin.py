"""Where teacher data came from: whoever learns from them must serve the same target, catalog and prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from sidebeam.bundle import Bundle
from sidebeam.catalog import Catalog
from sidebeam.training.error import TrainingError

DIGITS = 16  # of a fingerprint


@dataclass(frozen=True, slots=True)
class Origin:
    """Fingerprints of the files that decide what a teacher says, and the settings of the run that asked it."""

    target: str  # of its weights and configuration
    tokenizer: str
    catalog: str
    interactions: str
    scoring: str
    template: str
    item_separator: str
    max_history: int
    users: int | None  # None: all
    top_k: int
    shard_size: int
    dtype: str

    @classmethod
    def of(cls, bundle: Bundle, catalog: Catalog, interactions: Path, **run: Any) -> Self:
        """Of teacher data made here and now; `run` names users, top_k, shard_size and dtype.

        Raises `TrainingError` for an interactions file that cannot be read.
        """
        weights = sorted(bundle.target.glob("*.safetensors"))
        return cls(
            target=_fingerprint([bundle.target / "config.json", *weights]),
            tokenizer=_fingerprint([bundle.tokenizer / "tokenizer.json"]),
            catalog=catalog.version,
            interactions=_fingerprint([interactions]),
            scoring=bundle.scoring,
            template=bundle.prompt.template,
            item_separator=bundle.prompt.item_separator,
            max_history=bundle.prompt.max_history,
            **run,
        )

    def check(self, found: Origin, path: Path) -> None:
        """Raises `TrainingError`, naming `path` and every difference, unless `found` there is this origin."""
        here, there = asdict(self), asdict(found)
        differences = [f"{name} was {there[name]!r}, is {here[name]!r}" for name in here if here[name] != there[name]]
        if differences:
            raise TrainingError(f"{path}: teacher data of other things or settings: {'; '.join(differences)}")

    @property
    def run(self) -> dict[str, Any]:
        """The settings of the run, which whoever learns from it need not share."""
        return {"users": self.users, "top_k": self.top_k, "shard_size": self.shard_size, "dtype": self.dtype}


def _fingerprint(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}\0".encode())
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise TrainingError(f"{path}: cannot be read: {error.strerror}") from None
    return digest.hexdigest()[:DIGITS]
