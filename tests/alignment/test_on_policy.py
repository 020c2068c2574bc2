"""The student's own beams, and what a live target says about them, against loops over single paths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from sidebeam.alignment.losses import Knobs, joint_kl, total_variation
from sidebeam.alignment.objective import BeamObjective
from sidebeam.alignment.on_policy import OnPolicy
from sidebeam.alignment.tree_builder import PromptRows, Said, TreeBuilder
from sidebeam.bundle import Bundle, Tokenizer, open_catalog
from sidebeam.catalog import Catalog
from sidebeam.search.request import Scoring

from .oracle import Prefix, Sample, Shares, softmax

PROMPTS = ([1, 5, 11, 17, 23], [1], [1, 4, 10, 16, 22, 6, 12, 18, 24])
TOP_K = 7


@pytest.fixture(scope="module")
def catalog(tiny_bundle: Path) -> Catalog:
    bundle = Bundle.open(tiny_bundle)
    return open_catalog(bundle, Tokenizer.open(bundle.tokenizer))


@pytest.fixture(scope="module")
def student(tiny_bundle: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_bundle / "draft").requires_grad_(False)


@pytest.fixture(scope="module")
def target(tiny_bundle: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_bundle / "target").requires_grad_(False)


@pytest.fixture(scope="module")
def rows(catalog: Catalog) -> PromptRows:
    width = max(map(len, PROMPTS))
    tokens = np.array([[0] * (width - len(prompt)) + prompt for prompt in PROMPTS])
    return PromptRows(tokens, np.array([len(prompt) for prompt in PROMPTS]), catalog.sids_of(np.array([3, 40, 7])))


def _own(catalog: Catalog, target: PreTrainedModel, scoring: Scoring, depth: int = 4) -> OnPolicy:
    objective = BeamObjective(total_variation, Knobs(TOP_K, 9, 0.0, 1.0), 1.0, (1.0,) * depth)
    return OnPolicy(objective, target, TreeBuilder(catalog, depth, cut=True), scoring)


def _sample(catalog: Catalog, model: PreTrainedModel, prompt: list[int], scoring: Scoring) -> Sample:
    def ask(prefix: Prefix) -> Shares:
        logits = model(torch.tensor([[*prompt, *prefix]])).logits[0, -1].double()
        values = logits if scoring == "catalog" else logits.log_softmax(-1)
        found = {token: float(values[token]) for token in sample.children(prefix)}
        return softmax(found) if scoring == "catalog" else found

    sids = frozenset(map(tuple, catalog.sids_of(np.arange(catalog.n_items)).tolist()))
    sample = Sample(sids, ask, ask, TOP_K)
    return sample


def test_the_search_is_beam_search(
    catalog: Catalog, student: PreTrainedModel, target: PreTrainedModel, rows: PromptRows
) -> None:
    """On log-probs over live children, as the student is trained."""
    beams = _own(catalog, target, "raw").search(student, rows)
    for found, prompt in zip(beams, PROMPTS, strict=True):
        wanted = _sample(catalog, student, prompt, "catalog").beams()
        for d in range(4):
            paths = [tuple(path) for path in catalog.path(found[d][found[d] > 0]).tolist()]
            assert paths == list(wanted[d + 1])
    shallow = _own(catalog, target, "raw", depth=2).search(student, rows)
    assert (shallow[:, :2] == beams[:, :2]).all()
    assert not shallow[:, 2:].any()


@pytest.mark.parametrize("scoring", ["raw", "catalog"])
def test_the_target_says_what_it_says_elsewhere(
    catalog: Catalog, student: PreTrainedModel, target: PreTrainedModel, rows: PromptRows, scoring: Scoring
) -> None:
    own = _own(catalog, target, scoring)
    beams = own.search(student, rows)
    tree = own.ask(own.builder.build(rows, beams))
    for b, prompt in enumerate(PROMPTS):
        sample = _sample(catalog, target, prompt, scoring)
        above: dict[Prefix, float] = {(): 0.0}
        for d, level in enumerate(tree.levels):
            np.testing.assert_allclose(level.start[b, : len(above)], list(above.values()), atol=1e-4)
            for k, prefix in enumerate(above):
                wanted = list(sample.ask(prefix).values())
                np.testing.assert_allclose(level.edge[b, k, : len(wanted)], wanted, atol=1e-4)
            scores = sample.scores(sample.ask, above)
            kept = map(tuple, catalog.path(beams[b, d][beams[b, d] > 0]).tolist())
            above = {prefix: scores[prefix] for prefix in kept}


@pytest.mark.parametrize("align", [total_variation, joint_kl])
def test_a_copy_of_the_target_has_nothing_to_learn(
    catalog: Catalog, target: PreTrainedModel, rows: PromptRows, align: object
) -> None:
    own = _own(catalog, target, "catalog")
    own = replace(own, objective=replace(own.objective, align=align))  # type: ignore[arg-type]
    loss, tokens = own.loss(target, rows)
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert tokens == 12


def test_a_batch_that_has_beams_keeps_them(
    catalog: Catalog, student: PreTrainedModel, target: PreTrainedModel, rows: PromptRows
) -> None:
    own = _own(catalog, target, "raw")
    beams = own.search(student, rows)
    edges = np.zeros(3 * 7 * 60, np.float32)
    said = Said(edges, np.zeros(3, np.int64), np.zeros((3, 4, TOP_K), np.float32))
    given = own.builder.build(rows, beams, said)
    assert own.loss(student, given)[0] == own.objective.loss(student, given)[0] != own.loss(student, rows)[0]
