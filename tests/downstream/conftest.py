"""A log in which texts tell what histories do not."""

from __future__ import annotations

import json
from collections.abc import Iterator
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


@pytest.fixture(scope="session")
def logs() -> list[UserLog]:
    """120 users and 40 items; items are known from everybody's past, which says nothing of what comes later.

    Later on, even users choose even items and odd users odd ones.
    """
    random = np.random.default_rng(3)
    logs = []
    for user in range(120):
        train = random.choice(40, size=6, replace=False)
        left = [item for item in range(40) if item % 2 == user % 2 and item not in train]
        later = random.choice(left, size=4, replace=False).tolist()
        logs.append(
            UserLog(
                f"u{user}",
                tuple(f"i{item}" for item in train),
                tuple(f"i{item}" for item in later[:1]),
                tuple(f"i{item}" for item in later[1:]),
            )
        )
    return logs


def write_log(path: Path, logs: list[UserLog]) -> Path:
    lines = [{"user": log.user, "train": log.train, "valid": log.valid, "test": log.test} for log in logs]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def write_texts(path: Path, texts: dict[str, str]) -> Path:
    path.write_text("\n".join(json.dumps({"entity": entity, "text": text}) for entity, text in texts.items()))
    return path


@pytest.fixture
def told(tmp_path: Path) -> dict[str, Path]:
    """Texts that tell who is even, of users and of items; and of users such that tell nothing."""
    side = ("the even side of the shop", "odd things alone")
    users = {f"u{user}": f"likes {side[user % 2]}" for user in range(120)}
    items = {f"i{item}": f"found on {side[item % 2]}" for item in range(40)}
    return {
        "users": write_texts(tmp_path / "users.jsonl", users),
        "items": write_texts(tmp_path / "items.jsonl", items),
        "blank": write_texts(tmp_path / "blank.jsonl", dict.fromkeys(users, "likes this and that")),
    }
