"""Small worlds of two tastes, whose groups are known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from sidebeam.grouping import UserLog


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in one order, so that two runs can be compared bit by bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def two_tastes(users: int = 60, items: int = 24, each: int = 8) -> list[UserLog]:
    """Even users like items of the first half, odd users those of the second; one item in ten is of the other."""
    random = np.random.default_rng(5)
    logs = []
    for user in range(users):
        own = np.where(random.random(items) < 0.9, user % 2, 1 - user % 2)
        half = items // 2
        chosen = dict.fromkeys(
            int(side) * half + int(place) for side, place in zip(own, _places(random, items, half), strict=True)
        )
        logs.append(UserLog(f"u{user}", tuple(f"i{item}" for item in list(chosen)[:each]), ("i0",), ("i1",)))
    return logs


def _places(random: np.random.Generator, items: int, half: int) -> list[int]:
    return random.integers(half, size=items).tolist()


def write_logs(path: Path, logs: Sequence[UserLog]) -> Path:
    lines = [json.dumps({"user": log.user, "train": log.train, "valid": log.valid, "test": log.test}) for log in logs]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def logs() -> list[UserLog]:
    return two_tastes()


@pytest.fixture
def interactions(tmp_path: Path, logs: list[UserLog]) -> Path:
    return write_logs(tmp_path / "interactions.jsonl", logs)


@pytest.fixture
def attributes(tmp_path: Path) -> Path:
    """60 users; every third is from Ede, the others from Wye; the users from 50 on say nothing."""
    path = tmp_path / "attributes.jsonl"
    said = [{"entity": f"u{user}", "town": "Ede" if user % 3 == 0 else "Wye", "age": user} for user in range(50)]
    path.write_text("\n".join(json.dumps(line) for line in [*said, *({"entity": f"u{u}"} for u in range(50, 60))]))
    return path
