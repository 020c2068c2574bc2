"""Small inputs for training: a world of 96 items, and models that train in a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console

from sidebeam.training.job import Job
from sidebeam.training.progress import ProgressBar
from sidebeam.training.recipe import Recipe
from sidebeam.training.shape import Shape
from sidebeam.training.world import World

MakeJob = Callable[..., Job]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in one order, so that two runs can be compared bit by bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def world() -> World:
    return World.build(3, aisles=2, shelves=3)


@pytest.fixture(scope="session")
def data(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the world's `items.json` and `interactions.jsonl` for 60 users."""
    folder = tmp_path_factory.mktemp("data")
    world.write(folder, users=60)
    return folder


@pytest.fixture
def make_job(data: Path, tmp_path: Path) -> MakeJob:
    """A job that trains a two-layer model on the small world; keyword arguments replace its fields."""

    def make(**changes: object) -> Job:
        job = Job(
            items=data / "items.json",
            interactions=data / "interactions.jsonl",
            out=tmp_path / "bundle",
            shape=Shape(layers=2, hidden=32, heads=2),
            recipe=Recipe(epochs=3, batch_size=8, learning_rate=3e-3, seed=1),
            device="cpu",
        )
        return replace(job, **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture
def bar() -> Iterator[ProgressBar]:
    with ProgressBar(Console(file=StringIO())) as bar:
        yield bar
