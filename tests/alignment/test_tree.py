"""One forward over a tree of beams against one path at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from sidebeam.alignment.beam_samples import BeamSamples, LabelledPrompts
from sidebeam.alignment.beam_tree import BeamTree
from sidebeam.alignment.forward import FAR, child_log_probs, hidden_rows, logits_of
from sidebeam.alignment.records import Record, Records
from sidebeam.alignment.tree_builder import TreeBuilder
from sidebeam.catalog import Catalog
from sidebeam.training.sequences import UNLABELLED

VOCABULARY, TOP_K = 60, 4


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    random = np.random.default_rng(5)
    sids = np.unique(random.integers(0, (3, 6, 6, 4), (50, 4)), axis=0) + np.array([5, 15, 25, 35])
    return Catalog.build([str(item) for item in range(len(sids))], sids)


@pytest.fixture(scope="module")
def records(catalog: Catalog) -> list[Record]:
    """Prompts of several lengths, and beams that are any nodes whose parents are beams; the first level has three."""
    random = np.random.default_rng(6)
    return [_record(catalog, random, length) for length in (7, 2, 11)]


def _record(catalog: Catalog, random: np.random.Generator, length: int) -> Record:
    beams, above, edges = np.zeros((4, TOP_K), np.int64), np.zeros(1, np.int64), 0
    for d in range(4):
        first, end = catalog.trie.children(above)
        below = np.concatenate([np.arange(*pair) for pair in zip(first, end, strict=True)])
        edges += len(below)
        above = random.permutation(below)[:TOP_K]
        beams[d, : len(above)] = above
    scores = random.normal(-5, 1, (4, TOP_K)).astype(np.float32)
    prompt = random.integers(3, VOCABULARY, length)
    return Record(
        prompt, int(random.integers(catalog.n_items)), beams, scores, -random.random(edges).astype(np.float32)
    )


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config).eval()


def _batch(catalog: Catalog, records: list[Record], depth: int, *, cut: bool) -> BeamTree:
    samples = BeamSamples(Records.of(records, catalog, VOCABULARY), TreeBuilder(catalog, depth, cut=cut))
    return samples.collate([1, 2, 0])


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("depth", [1, 3, 4])
@torch.no_grad()
def test_every_child_has_its_log_prob(
    catalog: Catalog, records: list[Record], model: PreTrainedModel, depth: int, cut: bool
) -> None:
    batch = _batch(catalog, records, depth, cut=cut)
    found = child_log_probs(model, hidden_rows(model, batch), batch)
    assert len(found) == depth
    for b, record in enumerate(records[at] for at in (1, 2, 0)):
        at = 0
        for d in range(depth):
            nodes = record.beams[d - 1][record.beams[d - 1] > 0] if d else np.zeros(1, np.int64)
            for k, node in enumerate(nodes.tolist()):
                path = catalog.path(np.array([node]))[0] if d else np.zeros(0, np.int64)
                tokens = torch.from_numpy(np.concatenate([record.prompt, path]))[None]
                logits = model(tokens).logits[0, -1]
                low, high = (int(end[0]) for end in catalog.trie.children(np.array([node])))
                children = torch.from_numpy(catalog.trie.tokens(np.arange(low, high)))
                wanted = logits[children].log_softmax(0) if cut else logits.log_softmax(0)[children]
                torch.testing.assert_close(found[d][b, k, : high - low], wanted, atol=1e-4, rtol=1e-4)
                assert (found[d][b, k, high - low :] == FAR).all()
                edges = torch.from_numpy(record.edges[at : at + high - low]).half().float()
                assert torch.equal(batch.levels[d].edge[b, k, : high - low], edges)
                at += high - low
            assert not batch.levels[d].live[b, len(nodes) :].any()


@torch.no_grad()
def test_the_label_has_its_logits(catalog: Catalog, records: list[Record], model: PreTrainedModel) -> None:
    batch = _batch(catalog, records, 3, cut=True)
    root, *_, label = hidden_rows(model, batch)
    logits = logits_of(model, torch.cat([root, label], dim=1))
    plain = LabelledPrompts(Records.of(records, catalog, VOCABULARY), catalog).collate([1, 2, 0])
    rows = model(plain.tokens).logits[plain.labels != UNLABELLED].view(3, 4, -1)
    torch.testing.assert_close(logits, rows, atol=1e-4, rtol=1e-4)
    assert torch.equal(plain.labels[plain.labels != UNLABELLED].view(3, 4), batch.labels)
    assert [sid.tolist() for sid in batch.labels] == [catalog.sid_of(records[at].label).tolist() for at in (1, 2, 0)]


def test_beams_are_found_among_the_children(catalog: Catalog, records: list[Record]) -> None:
    batch = _batch(catalog, records, 4, cut=False)
    for b, record in enumerate(records[at] for at in (1, 2, 0)):
        for d, level in enumerate(batch.levels):
            wanted = record.beams[d][record.beams[d] > 0]
            assert level.is_kept[b].sum() == len(wanted)
            tokens = level.choice.flatten(1)[b, level.kept[b, : len(wanted)]]
            assert tokens.tolist() == catalog.trie.tokens(wanted).tolist()
            places = level.kept[b, : len(wanted)] // level.live.shape[2]
            above = record.beams[d - 1] if d else np.zeros(1, np.int64)
            assert above[places].tolist() == catalog.trie.parents(wanted).tolist()
            if d:
                starts = torch.from_numpy(record.scores[d - 1])
                assert torch.equal(level.start[b], starts[: level.start.shape[1]])


def test_batches_hold_every_sample_once(catalog: Catalog, records: list[Record]) -> None:
    many = Records.join([Records.of(records, catalog, VOCABULARY)] * 5)
    beams, plain = BeamSamples(many, TreeBuilder(catalog, 3, cut=True)), LabelledPrompts(many, catalog)
    batches = beams.batches(4, seed=1, epoch=2)
    assert sorted(index for batch in batches for index in batch) == list(range(15))
    assert batches == plain.batches(4, seed=1, epoch=2) != beams.batches(4, seed=1, epoch=3)
    one, five = beams.collate([0, 1, 2]), beams.collate([12, 13, 14])
    assert torch.equal(one.tokens, five.tokens)
    assert all(torch.equal(a.edge, b.edge) for a, b in zip(one.levels, five.levels, strict=True))
