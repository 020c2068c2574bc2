"""One small world for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

import pytest
import torch
from rich.console import Console

from sidebeam.folklore import FolklorePlan, KnowledgeWorld
from sidebeam.training.progress import ProgressBar
from sidebeam.training.recipe import Recipe
from sidebeam.training.shape import Shape

TINY = FolklorePlan(
    version="tiny",
    seed=3,
    aisles=3,
    circles=4,
    users=12,
    pupils=40,
    item_rounds=1,
    model=Shape(1, 16, 2),
    recipe=Recipe(epochs=1, max_steps=3, batch_size=4),
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in one order, so that two runs can be compared bit by bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def world() -> KnowledgeWorld:
    return KnowledgeWorld.build(7)


@pytest.fixture
def bar() -> Iterator[ProgressBar]:
    with ProgressBar(Console(file=StringIO())) as bar:
        yield bar
