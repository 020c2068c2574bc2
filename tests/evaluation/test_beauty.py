"""Lossless where it counts: a trained target, a real catalog, real users, against transformers `generate`."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

from sidebeam.engine import Recommender
from sidebeam.evaluation.generate import GenerateBaseline
from sidebeam.search import DraftSettings, DraftTree, SearchRequest, SearchResult

TOLERANCE = 1e-4
IN_FLIGHT = 16
DRAFTS = {
    "none": DraftSettings("off"),
    "auto": DraftSettings("auto"),
    "catalog": DraftSettings("explicit", "catalog"),
    "model": DraftSettings("explicit", "model", 40, 3),
    "model, redrafted for every pass": DraftSettings("explicit", "model", 40, 1),
    "random": DraftSettings("explicit", "model", 40, 3),
}
ALONE = ("none", "catalog", "model", "random")  # these one by one as well; all of them with 16 in flight


def requests_for(recommender: Recommender, prompts: list[np.ndarray], k: int, kind: str) -> list[SearchRequest]:
    catalog = recommender.engine.catalog
    rng = np.random.default_rng(k)
    requests = []
    for prompt in prompts:
        tree = None
        if kind == "random":
            nodes, _, _ = catalog.spell(rng.integers(1, catalog.trie.n_nodes, 30))
            tree = DraftTree(nodes, rng.normal(size=len(nodes)).astype(np.float32))
        requests.append(SearchRequest(prompt, k, draft=DRAFTS[kind], tree=tree))
    return requests


def assert_equal(result: SearchResult, wanted: tuple[list[int], np.ndarray]) -> bool:
    """Log-probs at every rank, and of every item. Returns whether the items stand in the same order, too.

    Float32 rounds differently in passes of different shapes, so items closer than that may change places.
    """
    leaves, log_probs = wanted
    np.testing.assert_allclose(result.log_probs, log_probs, atol=TOLERANCE)
    scores = dict(zip(leaves, log_probs.tolist(), strict=True))
    for leaf, score in zip(result.leaves.tolist(), result.log_probs.tolist(), strict=True):
        assert scores.get(leaf, log_probs[-1]) == pytest.approx(score, abs=TOLERANCE)
    return result.leaves.tolist() == leaves


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("k", [1, 3, 5, 10, 20])
def test_three_hundred_users_whatever_is_drafted(
    k: int, recommender: Recommender, baseline: GenerateBaseline, prompts: list[np.ndarray]
) -> None:
    assert len(prompts) >= 300
    wanted = [baseline(prompt, k) for prompt in prompts]
    for kind in DRAFTS:
        requests = requests_for(recommender, prompts, k, kind)
        alone = [recommender.search([request])[0] for request in requests] if kind in ALONE else []
        swapped = sum(not assert_equal(result, want) for result, want in zip(alone, wanted, strict=False))
        together: list[SearchResult] = []
        for at in range(0, len(requests), IN_FLIGHT):
            together += recommender.search(requests[at : at + IN_FLIGHT])
        swapped += sum(not assert_equal(result, want) for result, want in zip(together, wanted, strict=True))
        assert swapped <= len(prompts) // 100, f"{kind}: {swapped} answers in another order than generate's"


def whole_catalog_scores(baseline: GenerateBaseline, recommender: Recommender, prompt: np.ndarray) -> np.ndarray:
    """Log-prob of every SID on the unmodified model, each path after a copy of the prompt's cache."""
    catalog = recommender.engine.catalog
    sids = torch.from_numpy(catalog.path(catalog.leaf_node(np.arange(catalog.n_leaves))))
    scores = []
    with torch.inference_mode():
        start = baseline.model(torch.from_numpy(prompt)[None], use_cache=True)
        first = start.logits[0, -1].float().log_softmax(-1)  # [vocab]
        for block in sids.split(512):
            cache = copy.deepcopy(start.past_key_values)
            cache.batch_repeat_interleave(len(block))
            logits = baseline.model(block[:, :-1], past_key_values=cache, use_cache=True).logits
            after = logits.float().log_softmax(-1).gather(2, block[:, 1:, None])[:, :, 0]  # [block, L - 1]
            scores.append(first[block[:, 0]] + after.sum(1))
    return torch.cat(scores).numpy()


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_exact_equals_scoring_the_whole_catalog_for_twenty_users(
    recommender: Recommender, baseline: GenerateBaseline, prompts: list[np.ndarray]
) -> None:
    for prompt in prompts[:300:15]:
        scores = whole_catalog_scores(baseline, recommender, prompt)
        best = np.argsort(-scores, kind="stable")[:20]
        (result,) = recommender.search([SearchRequest(prompt, 20, "exact")])
        assert_equal(result, (best.tolist(), scores[best]))


def test_a_few_users_in_every_run(
    recommender: Recommender, baseline: GenerateBaseline, prompts: list[np.ndarray]
) -> None:
    few = prompts[::60]
    for k in (1, 10):
        wanted = [baseline(prompt, k) for prompt in few]
        for kind in DRAFTS:
            for result, want in zip(recommender.search(requests_for(recommender, few, k, kind)), wanted, strict=True):
                assert_equal(result, want)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_does_not_grow_over_two_thousand_requests(recommender: Recommender, prompts: list[np.ndarray]) -> None:
    import psutil

    def serve(n: int) -> None:
        for at in range(0, n, IN_FLIGHT):
            picked = [prompts[(at + i) % len(prompts)] for i in range(IN_FLIGHT)]
            recommender.search([SearchRequest(prompt, 10) for prompt in picked])

    kv_bytes = recommender.engine.describe().kv_bytes
    serve(400)
    before = psutil.Process().memory_info().rss
    serve(2000)
    grown = psutil.Process().memory_info().rss - before
    assert recommender.engine.describe().kv_bytes == kv_bytes
    assert recommender.engine.is_idle
    assert grown < 64 << 20, f"{grown / 2**20:.0f} MiB more after 2,000 requests"


def test_the_report_for_scripts(beauty, tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    from sidebeam.command.main import main

    interactions = beauty.parents[1] / "data" / "beauty" / "interactions.jsonl"
    arguments = ["bench", "recommend", "--bundle", str(beauty), "--interactions", str(interactions)]
    report = tmp_path / "bench.json"
    assert main([*arguments, "--prompts", "3", "--learn", "32", "--top-k", "1,5", "--json", str(report)]) == 0
    written = json.loads(report.read_text())
    assert {row["arm"] for row in written["rows"]} == {"generate", "none", "catalog", "model", "auto"}
    assert {row["top_k"] for row in written["rows"]} == {1, 5}
    assert all(row["identical"] == 1.0 for row in written["rows"])
    assert written["prompt_pass_ms"] > 0
    assert "vs generate" in capsys.readouterr().out
    assert main([*arguments, "--min-history", "100000"]) == 2
