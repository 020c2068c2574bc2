"""Groups of entities that lie near each other: K-means over their vectors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans, MiniBatchKMeans

from sidebeam.grouping.embeddings import Embeddings, Vectors
from sidebeam.grouping.error import GroupingError

FEWEST = 2
STARTS = 4  # the best of so many first centres is kept
IN_BATCHES_FROM = 50_000  # entities; plain K-means would take minutes beyond


def collaborative_groups(embeddings: Embeddings, groups: int, seed: int = 0) -> dict[str, str]:
    """The group of every entity: `near 0` is the largest, ties by the entity that comes first.

    Vectors are compared by direction alone: the length of a collaborative vector says how popular an entity is, not
    what it likes. The same vectors in the same order and the same seed give the same groups. Raises `GroupingError`
    for fewer than two groups, or more than there are different vectors.
    """
    if groups < FEWEST:
        raise GroupingError(f"--groups must be at least {FEWEST}; given {groups}")
    points = _directions(embeddings.vectors)
    different = len(np.unique(points, axis=0))
    if groups > different:
        raise GroupingError(f"--groups must be at most {different}, the number of different vectors; given {groups}")
    settings = {"n_clusters": groups, "n_init": STARTS, "random_state": seed}
    kind = KMeans if len(points) < IN_BATCHES_FROM else MiniBatchKMeans
    labels = _by_size(np.asarray(kind(**settings).fit_predict(points), dtype=np.int64))
    return {entity: f"near {label}" for entity, label in zip(embeddings.ids, labels.tolist(), strict=True)}


def _directions(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    directions: Vectors = vectors / lengths
    return directions


def _by_size(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Labels numbered anew, so that a run's random order of centres does not show."""
    found, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    number = np.empty(int(found.max()) + 1, dtype=np.int64)
    number[found[order]] = np.arange(len(found))
    renamed: npt.NDArray[np.int64] = number[labels]
    return renamed
