"""Every loss against loops over dictionaries, and its gradient where there must be one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from sidebeam.alignment import losses
from sidebeam.alignment.beam_paths import BeamPaths
from sidebeam.alignment.beam_tree import Level
from sidebeam.alignment.forward import within
from sidebeam.alignment.lesson import ALIGNMENTS
from sidebeam.alignment.losses import Knobs
from sidebeam.alignment.tree_builder import PromptRows, Said, TreeBuilder
from sidebeam.catalog import Catalog

from . import oracle
from .oracle import Prefix, Sample, Shares

TOP_K, BEAMS = 5, 8
CATALOGS = {"broad": (7, 6, 5, 3), "narrow at the top": (2, 3, 6, 4), "hardly branching": (9, 9, 9, 9)}


@dataclass(frozen=True)
class Case:
    """The same random prompts for both sides: as samples of the oracle, and as levels with a student's logits."""

    samples: list[Sample]
    levels: tuple[Level, ...]
    logits: list[Tensor]  # [B, K, C] of each depth

    @property
    def log_q(self) -> list[Tensor]:
        return [within(values, level.live) for values, level in zip(self.logits, self.levels, strict=True)]


def _case(name: str, seed: int = 0, spread: float = 1.5) -> Case:
    random = np.random.default_rng([seed, len(name)])
    sids = np.unique(random.integers(0, CATALOGS[name], (60, 4)), axis=0) + np.array([3, 13, 23, 33])
    catalog = Catalog.build([str(item) for item in range(len(sids))], sids)
    samples = [_sample(sids, random, spread) for _ in range(3)]
    nodes = [[_nodes(catalog, sample.beams()[d]) for d in range(1, 5)] for sample in samples]
    beams = np.zeros((3, 4, TOP_K), np.int64)
    scores = np.zeros((3, 4, TOP_K), np.float32)
    edges, starts = [], []
    for b, sample in enumerate(samples):
        starts.append(len(edges))
        for d, depth in enumerate(sample.beams()):
            if d:
                beams[b, d - 1, : len(depth)], scores[b, d - 1, : len(depth)] = nodes[b][d - 1], list(depth.values())
            if d < 4:
                edges += [sample.ask(prefix)[token] for prefix in depth for token in sample.children(prefix)]
    rows = PromptRows(np.zeros((3, 2), np.int64), np.array([2, 1, 2]), sids[:3])
    tree = TreeBuilder(catalog, 4, cut=True).build(rows, beams, Said(np.array(edges), np.array(starts), scores))
    paths = BeamPaths.of(beams, catalog.trie)
    logits = []
    for d, level in enumerate(tree.levels):
        values = np.zeros(level.live.shape, np.float32)
        first, _ = catalog.trie.children(paths.nodes[d])
        for b, k, c in np.argwhere(level.live.numpy()).tolist():
            child = tuple(catalog.path(np.array([first[b, k] + c]))[0].tolist())
            values[b, k, c] = samples[b].guess(child[:-1])[child[-1]] + 3.0  # log-probs but for a constant
        logits.append(torch.from_numpy(values).requires_grad_())
    return Case(samples, tree.levels, logits)


def _sample(sids: np.ndarray, random: np.random.Generator, spread: float) -> Sample:
    paths = frozenset(map(tuple, sids.tolist()))
    plain = Sample(paths, dict, dict, TOP_K)  # type: ignore[arg-type]
    prefixes = sorted({path[:length] for path in paths for length in range(4)})

    def shares(leak: float) -> dict[Prefix, Shares]:
        drawn = {prefix: plain.children(prefix) for prefix in prefixes}
        found = {p: oracle.softmax({t: random.normal(0, spread) for t in tokens}) for p, tokens in drawn.items()}
        return {p: {t: value - leak * random.random() for t, value in f.items()} for p, f in found.items()}

    target, student = shares(leak=0.3), shares(leak=0.0)  # the target's are over a vocabulary
    return Sample(paths, target.__getitem__, student.__getitem__, TOP_K)


def _nodes(catalog: Catalog, prefixes: dict[Prefix, float]) -> np.ndarray:
    found = []
    for prefix in prefixes:
        node = np.zeros(1, np.int64)
        for token in prefix:
            node = catalog.trie.child(node, np.array([token]))
        found.append(int(node[0]))
    return np.array(found)


REFERENCE: dict[str, Callable[[list[Sample], int, Knobs], float]] = {
    "seq-kd": lambda samples, depth, knobs: oracle.sequence_kd(samples, depth),
    "atspeed-s": lambda samples, depth, knobs: oracle.reverse_kl(samples, depth, knobs.beta, knobs.tau),
    "atspeed-r": lambda samples, depth, knobs: oracle.total_variation(samples, depth, knobs.tau),
    "joint": lambda samples, depth, knobs: oracle.joint_kl(samples, depth, knobs.tau),
    "top-k": lambda samples, depth, knobs: oracle.joint_top_k(samples, depth, knobs.tau),
    "top-n": lambda samples, depth, knobs: oracle.top_n(samples, depth, knobs.beams, knobs.tau),
}


def test_every_objective_has_a_reference() -> None:
    assert REFERENCE.keys() == ALIGNMENTS.keys()


@pytest.mark.parametrize("catalog", list(CATALOGS))
@pytest.mark.parametrize("tau", [1.0, 0.5, 2.5])
@pytest.mark.parametrize("name", list(ALIGNMENTS))
def test_equal_to_loops(name: str, catalog: str, tau: float) -> None:
    case = _case(catalog)
    knobs = Knobs(TOP_K, BEAMS, beta=0.7, tau=tau)
    found = ALIGNMENTS[name](case.levels, case.log_q, knobs)
    wanted = [REFERENCE[name](case.samples, depth, knobs) for depth in range(1, 5)]
    assert [loss.item() for loss in found] == pytest.approx(wanted, abs=2e-5)
    assert max(wanted) > 0.01


@pytest.mark.parametrize("name", ["atspeed-s", "atspeed-r", "joint"])
def test_a_student_that_equals_its_target_has_nothing_to_learn(name: str) -> None:
    case = _case("broad")
    log_p = [within(level.edge, level.live).requires_grad_() for level in case.levels]
    exact = [_renormalised(level) for level in case.levels]
    start = [torch.zeros(3, 1)]
    for level, total in zip(exact, losses.totals(exact, [level.edge for level in exact]), strict=True):
        start.append(total.gather(1, level.kept))
    levels = [_with_start(level, begin) for level, begin in zip(exact, start, strict=False)]
    for loss in ALIGNMENTS[name](levels, log_p, Knobs(TOP_K, BEAMS, beta=0.0, tau=1.0)):
        assert loss.item() == pytest.approx(0.0, abs=1e-6)


def _renormalised(level: Level) -> Level:
    edge = within(level.edge, level.live).masked_fill(~level.live, 0)
    return Level(level.choice, level.live, edge, level.start, level.through, level.kept, level.is_kept, level.paths)


def _with_start(level: Level, start: Tensor) -> Level:
    return Level(level.choice, level.live, level.edge, start, level.through, level.kept, level.is_kept, level.paths)


@pytest.mark.parametrize("name", list(ALIGNMENTS))
@pytest.mark.parametrize("catalog", list(CATALOGS))
def test_gradients_are_there_and_nowhere_else(name: str, catalog: str) -> None:
    """§1.5.23: at tau = 1 a student off by a sigma must feel it, at every depth that branches; padding never does."""
    case = _case(catalog)
    found = ALIGNMENTS[name](case.levels, case.log_q, Knobs(TOP_K, BEAMS, beta=1.0, tau=1.0))
    for level, loss in zip(case.levels, found, strict=True):
        grads = torch.autograd.grad(loss, case.logits, retain_graph=True, allow_unused=True)
        for grad, its in zip(grads, case.levels, strict=True):
            if grad is not None:
                assert grad.isfinite().all()
                assert (grad[~its.live] == 0).all()
        forced = not (level.live.sum(dim=-1) > 1).any()  # only children: what a token costs there is decided above
        if loss.item() > 0.01 and not (forced and name in ("seq-kd", "atspeed-s", "atspeed-r")):
            assert sum(float(grad.norm()) for grad in grads if grad is not None) > 1e-3


@pytest.mark.parametrize("name", ["atspeed-s", "atspeed-r"])
def test_the_gradient_vanishes_at_the_reference_temperature(name: str) -> None:
    """Why --tau has limits: divided by 0.001, softmax is one-hot and says nothing any more."""
    case = _case("broad")
    norms = {}
    for tau in (1.0, 0.001):
        loss = ALIGNMENTS[name](case.levels, case.log_q, Knobs(TOP_K, BEAMS, beta=0.0, tau=tau))[0]
        (grad,) = torch.autograd.grad(loss, [case.logits[0]])
        norms[tau] = float(grad.norm())
    assert norms[0.001] < 1e-6
    assert norms[1.0] > 1e-2


@pytest.mark.parametrize("catalog", list(CATALOGS))
def test_top_n_is_acceptance(catalog: str) -> None:
    """With a sharp temperature the loss is 0 exactly where the target's beams are all among the N best."""
    outcomes = set()
    for seed in range(12):
        case = _case(catalog, seed, spread=0.7)
        for beams in (TOP_K, BEAMS, 2 * TOP_K):
            found = losses.top_n(case.levels, case.log_q, Knobs(TOP_K, beams, beta=0.0, tau=1e-4))
            for depth, loss in enumerate(found, start=1):
                accepted = all(oracle.is_accepted(sample, depth, beams) for sample in case.samples)
                assert (loss.item() < 1e-3) == accepted
                outcomes.add(accepted)
    assert outcomes == {True, False}


def test_positions_count_as_often_as_final_beams_pass() -> None:
    case = _case("broad")
    for depth, level in enumerate(case.levels):
        for b, sample in enumerate(case.samples):
            prefixes = list(sample.beams()[depth])
            wanted = [sum(path[:depth] == prefix for path in sample.beams()[-1]) for prefix in prefixes]
            assert level.through[b, : len(prefixes)].tolist() == wanted
            assert level.through[b, len(prefixes) :].sum() == 0


def test_what_is_below_does_not_matter() -> None:
    """The first levels alone give the first losses."""
    case = _case("broad")
    knobs = Knobs(TOP_K, BEAMS, beta=1.0, tau=1.0)
    for each in ALIGNMENTS.values():
        whole, part = each(case.levels, case.log_q, knobs), each(case.levels[:2], case.log_q[:2], knobs)
        assert [loss.item() for loss in part] == [loss.item() for loss in whole[:2]]
