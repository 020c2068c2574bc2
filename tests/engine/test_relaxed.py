"""Drawn beams through a real model: no drafter and no company in a pass changes what a seed draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from sidebeam.bundle import Bundle
from sidebeam.catalog import Catalog
from sidebeam.search import DraftSettings, Sampling, SearchRequest

from .test_lossless import DRAFTS, prompts, recommender


@pytest.mark.parametrize("scoring", ["raw", "catalog"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_a_seed_draws_the_same_whatever_is_drafted(
    catalog: Catalog, bundle_of: Callable[..., Bundle], temperature: float, scoring: str
) -> None:
    ours = recommender(bundle_of("llama", scoring, draft="qwen3"), catalog)
    requests, wanted = [], []
    for seed, prompt in enumerate(prompts(6)):
        plain = SearchRequest(prompt, 4, draft=DraftSettings("off"), sampling=Sampling(temperature, seed=seed))
        (result,) = ours.search([plain])
        for draft in DRAFTS.values():
            requests.append(replace(plain, draft=draft))
            wanted.append(result)
    assert len({tuple(result.leaves.tolist()) for result in wanted}) > 3
    alone = [ours.search([request])[0] for request in requests]
    for results in (alone, ours.search(requests)):
        for result, same in zip(results, wanted, strict=True):
            assert result.leaves.tolist() == same.leaves.tolist()
            np.testing.assert_allclose(result.log_probs, same.log_probs, atol=1e-4)


@pytest.mark.parametrize("scoring", ["raw", "catalog"])
@pytest.mark.parametrize("sampling", [None, Sampling(0.5), Sampling(1.0), Sampling(2.0)])
def test_a_draft_with_the_targets_weights_is_accepted_at_every_level(
    catalog: Catalog, bundle_of: Callable[..., Bundle], sampling: Sampling | None, scoring: str
) -> None:
    ours = recommender(bundle_of("llama", scoring, draft="llama", draft_scoring=scoring), catalog)
    for seed, prompt in enumerate(prompts(8)):
        own = None if sampling is None else replace(sampling, seed=seed)
        for beams in (4, 8):
            explicit = DraftSettings("explicit", "model", beams, catalog.depth - 1)
            (result,) = ours.search([SearchRequest(prompt, 4, draft=explicit, sampling=own)])
            assert result.depths == (catalog.depth,)
            assert sum(result.accepted_by_depth) >= 4
