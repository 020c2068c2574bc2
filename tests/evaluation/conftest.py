"""The Beauty bundle, loaded once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sidebeam.bundle import Bundle
from sidebeam.engine import Recommender
from sidebeam.evaluation.generate import GenerateBaseline
from sidebeam.evaluation.recommend_bench import evenly


@pytest.fixture(scope="session")
def recommender(beauty: Path) -> Recommender:
    torch.set_num_threads(2)
    return Recommender.load(beauty)


@pytest.fixture(scope="session")
def baseline(beauty: Path, recommender: Recommender) -> GenerateBaseline:
    return GenerateBaseline.load(Bundle.open(beauty).target, recommender.engine.catalog)


@pytest.fixture(scope="session")
def prompts(recommender: Recommender, histories: list[list[str]]) -> list[np.ndarray]:
    """300 test users, spread over all of them."""
    return [np.array(recommender.prompt(history), np.int64) for history in evenly(histories, 300)]
