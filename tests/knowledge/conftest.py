"""Kernels compiled before the first test's time runs, and texts alike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from rich.console import Console

from sidebeam.knowledge.warm_up import warm_up
from sidebeam.training.progress import ProgressBar


@pytest.fixture(autouse=True, scope="session")
def _compiled() -> None:
    warm_up()


@pytest.fixture
def bar() -> Iterator[ProgressBar]:
    with ProgressBar(Console(quiet=True)) as bar:
        yield bar


def near_texts(count: int, length: int = 60, seed: int = 0, vocabulary: int = 400) -> list[npt.NDArray[np.int32]]:
    """Variants of a few texts, one token in ten another."""
    rng = np.random.default_rng(seed)
    first = rng.integers(10, vocabulary, (4, length))
    texts = first[rng.integers(0, 4, count)]
    other = rng.random(texts.shape) < 0.1
    texts[other] = rng.integers(10, vocabulary, int(other.sum()))
    return list(texts.astype(np.int32))
