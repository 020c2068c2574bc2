"""A small shop's target and what it teaches, made once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO

import pytest
import torch
from rich.console import Console

from sidebeam.alignment.teacher import TeacherJob
from sidebeam.training import World
from sidebeam.training.job import Job
from sidebeam.training.progress import ProgressBar
from sidebeam.training.recipe import Recipe
from sidebeam.training.shape import Shape


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Sums in one order, so that two runs can be compared bit by bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True, slots=True)
class School:
    """A trained target's bundle, its teacher data, and the jobs to make more of both."""

    target: Job
    teacher: TeacherJob


@pytest.fixture(scope="session")
def school(tmp_path_factory: pytest.TempPathFactory) -> School:
    """96 items, 40 users, a target of two layers, and teacher data with five beams of every depth."""
    folder = tmp_path_factory.mktemp("school")
    World.build(3, aisles=2, shelves=3).write(folder, users=40)
    target = Job(
        items=folder / "items.json",
        interactions=folder / "interactions.jsonl",
        out=folder / "bundle",
        shape=Shape(layers=2, hidden=32, heads=2),
        recipe=Recipe(epochs=3, batch_size=8, learning_rate=5e-3, seed=1),
        device="cpu",
    )
    teacher = TeacherJob(target.out, target.interactions, folder / "teacher", top_k=5, shard_size=150)
    with ProgressBar(Console(file=StringIO())) as bar:
        target.train_target(bar)
        teacher.run(bar)
    return School(target, teacher)


@pytest.fixture
def bar() -> Iterator[ProgressBar]:
    with ProgressBar(Console(file=StringIO())) as bar:
        yield bar
