"""The vectors of texts, laid out by user and by item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sidebeam.downstream.encoder import Encoder
from sidebeam.downstream.error import DownstreamError
from sidebeam.downstream.samples import ClickLog
from sidebeam.grouping import GroupingError
from sidebeam.grouping.embeddings import Vectors
from sidebeam.grouping.texts_file import read_texts

if TYPE_CHECKING:
    from sidebeam.training.progress import ProgressBar

CHUNK = 512  # texts between two steps of the progress bar


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """A row per entity; the last column is 1 where there is a text, and the row all zeros where not.

    Vectors are moved to a mean of zero and scaled, all alike, to a mean square of one: what all texts share says
    nothing, and a model learns too late from inputs that are much smaller than its own.

    `items` begins with a row for the padding. None: no texts of that kind.
    """

    users: Vectors | None = None  # [users, dim + 1]
    items: Vectors | None = None  # [1 + items, dim + 1]


@dataclass(frozen=True, slots=True)
class Coverage:
    """The share of users, and of items, that have a text; None where no file was given."""

    users: float | None = None
    items: float | None = None


@dataclass(frozen=True, slots=True)
class TextFiles:
    """The files of one arm; of either kind there may be none."""

    name: str
    users: Path | None = None
    items: Path | None = None

    def features(
        self, log: ClickLog, encoder: Encoder, bar: ProgressBar | None = None
    ) -> tuple[TextFeatures, Coverage]:
        """Raises `DownstreamError` for a bad file, and for one whose entities are all unknown."""
        users, covered = self._side("--user-texts", self.users, log.users, encoder, bar)
        items, stocked = self._side("--item-texts", self.items, log.items, encoder, bar)
        if items is not None:
            items = np.concatenate([np.zeros_like(items[:1]), items])
        return TextFeatures(users, items), Coverage(covered, stocked)

    def _side(
        self, option: str, path: Path | None, entities: Sequence[str], encoder: Encoder, bar: ProgressBar | None
    ) -> tuple[Vectors | None, float | None]:
        if path is None:
            return None, None
        try:
            texts = read_texts(path)
        except GroupingError as error:
            raise DownstreamError(f"{option} {self.name}: {error}") from None
        known = [place for place, entity in enumerate(entities) if entity in texts]
        if not known:
            raise DownstreamError(f"{option} {self.name}: {path} holds no text of any entity in --interactions")
        if bar is not None:
            bar.begin(f"reading {path.name}", len(known))
        parts = []
        for at in range(0, len(known), CHUNK):
            chunk = [texts[entities[place]] for place in known[at : at + CHUNK]]
            parts.append(encoder.encode(chunk))
            if bar is not None:
                bar.advance(len(chunk), "texts/s")
        vectors = _spread(np.concatenate(parts))
        table = np.zeros((len(entities), vectors.shape[1] + 1), dtype=np.float32)
        table[known, :-1] = vectors
        table[known, -1] = 1
        return table, len(known) / len(entities)


def _spread(vectors: Vectors) -> Vectors:
    """Vectors about their mean, with a mean square of one."""
    centred = vectors - vectors.mean(axis=0)
    size = np.sqrt(np.square(centred).mean())
    spread: Vectors = centred / size if size > 0 else centred
    return spread
