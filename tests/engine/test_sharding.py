"""Accelerate plans and dispatches for real: part of the model on the CPU, part read from disk for every pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sidebeam.bundle import Bundle
from sidebeam.catalog import Catalog
from sidebeam.engine import Recommender, load_target
from sidebeam.models import ModelError, load_model
from sidebeam.search import DraftSettings, SearchRequest


@pytest.mark.parametrize("scoring", ["raw", "catalog"])
def test_a_model_on_cpu_and_disk_answers_the_same(
    scoring: str, catalog: Catalog, bundle_of: Callable[..., Bundle], tmp_path: Path
) -> None:
    whole = load_target(bundle_of("llama", scoring), catalog, slots=2)
    size = sum(p.nbytes for p in load_model(bundle_of("llama").target).parameters())
    split = load_target(
        bundle_of("llama", scoring), catalog, slots=2, max_memory={"cpu": int(size * 0.7)}, offload_folder=tmp_path
    )
    assert any(tmp_path.iterdir()), "nothing was offloaded"
    for draft in (DraftSettings("off"), DraftSettings("explicit", "catalog")):
        request = SearchRequest(np.array([1, 5, 14, 25, 35]), 8, draft=draft)
        (a,), (b,) = (Recommender(e, None, None).search([request]) for e in (whole, split))  # type: ignore[arg-type]
        assert a.leaves.tolist() == b.leaves.tolist()
        np.testing.assert_allclose(a.log_probs, b.log_probs, atol=1e-5)


def test_disk_without_a_folder_is_refused(catalog: Catalog, bundle_of: Callable[..., Bundle]) -> None:
    with pytest.raises(ModelError, match="give an offload folder"):
        load_target(bundle_of("llama"), catalog, max_memory={"cpu": 1000})
