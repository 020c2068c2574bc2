"""Beam search as lazy evaluation: the state of one request between passes. The only place where decoding is decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.catalog import ROOT, Catalog, LeafFilter
from sidebeam.search.budget import CHILDREN, Budget, Level, Load
from sidebeam.search.contract import BeamRule, ExactRule, SelectionRule
from sidebeam.search.draft_beams import Width
from sidebeam.search.drafter import CatalogDrafter, ModelDrafter
from sidebeam.search.memory import Memory, Tastes
from sidebeam.search.normalise import over_children
from sidebeam.search.request import AcceptedBeams, DraftAdvice, DraftTree, DraftWanted, Scoring, SearchRequest
from sidebeam.search.scored_tree import NONE, Frontier, ScoredTree

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

ROOT_ONLY = np.array([ROOT])
RECALLED = 64  # nodes of a level that memory offers at most
EXACT_WIDTH = 4  # times K: open prefixes an exact search sends into one pass


@dataclass(frozen=True, slots=True)
class _Draft:
    """A ranking as it was made, to learn later what the target wanted of it."""

    depth: int
    levels: list[Ints]
    width: int  # what a level could have held
    entries: int  # of the tree when it was made
    by_model: bool


class Search:
    """One request. The loop asks `rows`, runs a pass over them, and hands the log-probs to `settle`.

    `limit` bounds the nodes of one pass. The answer depends on `settle`'s log-probs alone, never on what was drafted.
    """

    def __init__(self, catalog: Catalog, request: SearchRequest, scoring: Scoring, limit: int) -> None:
        live = None if request.excluded is None else LeafFilter.without_leaves(catalog, request.excluded)
        self.request = request
        self.tree = ScoredTree(catalog, live)
        self._scoring = scoring
        self._limit = limit
        self._rule: SelectionRule = (
            BeamRule(request.top_k, catalog.depth, request.sampling)
            if request.contract == "beam"
            else ExactRule(request.top_k, catalog.depth, min(EXACT_WIDTH * request.top_k, limit))
        )
        length = request.draft.length or catalog.depth
        self._catalog_drafter = CatalogDrafter(length, min(request.draft.beams or limit, limit))
        self._model_drafter = ModelDrafter(length, request.sampling)
        self._tastes: Tastes | None = None
        self._drafted: list[Ints] = []  # by pass
        self._drafts: list[_Draft] = []
        self._depths: list[int] = []  # at which each pass had to score
        self._fresh = False
        self._asked = -1
        self._last = AcceptedBeams(0, np.array([ROOT]), np.zeros(1, np.float32))
        if request.tree is not None:
            self.offer(request.tree)

    @property
    def answer(self) -> AcceptedBeams | None:
        """The K best leaf nodes, once they are known."""
        return self._rule.answer

    @property
    def draft_length(self) -> int:
        """Levels of the draft that came with the request."""
        return len(self._model_drafter.levels(self.tree, np.array([ROOT]))) if self.request.tree is not None else 0

    @property
    def last_drafted(self) -> int:
        """Drafted nodes that `rows` returned last."""
        return len(self._drafted[-1])

    def drafted_by_depth(self) -> tuple[Ints, Ints]:
        """Drafted nodes of each depth from 1 on, and those of them that the answer needed.  # [L - 1] each"""
        nodes = np.concatenate([NONE, *self._drafted])
        depths = self.tree.catalog.trie.depth_of(nodes)
        needed = np.isin(nodes, self._rule.wanted(self.tree))
        length = self.tree.catalog.depth
        return np.bincount(depths, minlength=length)[1:], np.bincount(depths[needed], minlength=length)[1:]

    def offer(self, draft: DraftTree) -> None:
        """Take in a draft model's tree for the next pass."""
        self._model_drafter.offer(self.tree, draft)
        self._fresh = True

    def draft_wanted(self) -> DraftWanted | None:
        """What to ask of the draft model before the next pass: an explicit setting drafts anew for every pass."""
        settings = self.request.draft
        if settings.mode != "explicit" or settings.drafter != "model" or self._fresh or self.answer is not None:
            return None
        depth = self._last.depth
        if depth <= self._asked or depth + 1 >= self.tree.catalog.depth:  # the last beams' children are leaves
            return None
        self._asked = depth
        return DraftWanted(self._last, settings.beams, settings.length)

    def rows(self, budget: Budget, memory: Memory, load: Load) -> Ints:
        """Nodes to score in the next pass, ascending: those the answer needs, and drafts as far as they pay."""
        must = self._rule.must(self.tree)[: self._limit]
        drafted = self._draft(must, budget, memory, load)[: self._limit - len(must)]
        self._fresh = False
        self._drafted.append(drafted)
        return np.sort(np.concatenate([must, drafted]))

    def settle(self, frontier: Frontier, values: Floats) -> list[AcceptedBeams]:
        """Take in the pass: the log-prob (catalog scoring: logit) of every child of the frontier's nodes, in turn.

        Returns the depths accepted by it.
        """
        self._expand(frontier, values)
        accepted = self._rule.advance(self.tree)
        while self._scoring == "catalog" and (forced := self._forced()).size:
            below = self.tree.frontier(forced)
            self._expand(below, np.zeros(len(below.children), np.float32))
            accepted += self._rule.advance(self.tree)
        if accepted:
            self._last = accepted[-1]
        return accepted

    def learn(
        self, budget: Budget, memory: Memory, frontier: Frontier, values: Floats, accepted: list[AcceptedBeams]
    ) -> None:
        """Tell memory what the pass said, the budget which drafted nodes were wanted and, at the end, what it took."""
        if self._tastes is not None:
            if self._scoring == "catalog":
                values = over_children(values, frontier.counts, np.ones(len(values), np.bool_))
            memory.learn(self._tastes, frontier, values)
        for beams in accepted:
            if beams.depth < self.tree.catalog.depth:
                for draft in self._drafts:
                    if 1 <= beams.depth - draft.depth <= len(draft.levels):
                        self._observe(draft, beams, budget)
        if self.answer is not None and self.request.draft.mode == "auto" and self.request.contract == "beam":
            budget.observe_passes(self.request.top_k, self._depths)

    def _observe(self, draft: _Draft, beams: AcceptedBeams, budget: Budget) -> None:
        level = beams.depth - draft.depth
        drafted = draft.levels[level - 1]
        wanted = self.tree.unscored_at(draft.entries, beams.nodes)
        coverage = budget.coverage if draft.by_model else budget.memory_coverage
        coverage.observe(self.request.top_k, draft.depth, level, drafted, wanted, exhausted=len(drafted) < draft.width)

    def advice(self, budget: Budget, memory: Memory, load: Load, default_beams: int) -> DraftAdvice:
        """The draft that would pay for a next request like this one."""
        most = DraftAdvice(max(default_beams, self.request.top_k), self.tree.catalog.depth - 1)
        k, prompt = self.request.top_k, len(self.request.prompt)
        return budget.advise(k, prompt, lambda: (self._levels_of(most), self._recalled_levels(memory)), load, most)

    def _recalled_levels(self, memory: Memory) -> list[Level]:
        """What memory brings with the prompt."""
        tastes = self._tastes or memory.read(self.request.prompt)
        width = Width(RECALLED, self.request.top_k, self.request.sampling)
        recalled = memory.propose(tastes, ROOT_ONLY, np.zeros(1, np.float32), width, self.tree.catalog.depth - 1)
        return self._levels(ROOT_ONLY, 0, recalled)

    def _levels_of(self, draft: DraftAdvice) -> list[Level]:
        """What a draft below the prompt could be expected to bring, by the trie's mean fan-out."""
        nodes = np.diff(self.tree.catalog.trie.level)  # [L + 1] nodes of each depth
        levels = []
        for depth, all_below in enumerate(self._catalog_sizes(np.array([ROOT])), start=1):
            fan_out = nodes[depth + 1] / nodes[depth] if depth < draft.length else 0.0
            below = np.ceil(np.arange(draft.beams + 1) * fan_out).astype(np.int64)
            levels.append(Level(draft.beams, below, all_below))
        return levels

    def _expand(self, frontier: Frontier, values: Floats) -> None:
        if self._scoring == "catalog":
            values = over_children(values, frontier.counts, self.tree.is_alive(frontier.children))
        self.tree.expand(frontier, values)

    def _forced(self) -> Ints:
        """Needed nodes with one live child: renormalised, it costs log 1 = 0, and no pass.  # ascending"""
        must = np.sort(self._rule.must(self.tree))
        if not len(must) or must[0] == ROOT:
            return NONE
        children, counts = self.tree.children(must)
        live = np.add.reduceat(self.tree.is_alive(children).astype(np.int64), np.cumsum(counts) - counts)
        forced: Ints = must[live == 1]
        return forced

    def _draft(self, must: Ints, budget: Budget, memory: Memory, load: Load) -> Ints:
        settings = self.request.draft
        if settings.mode == "off" or not len(must):
            return NONE
        model = self._model_drafter.levels(self.tree, must) if settings.drafter == "model" else []
        depth = int(self.tree.catalog.trie.depth_of(must[:1])[0])
        self._depths.append(depth)
        if model and self._fresh:
            width = max(len(level) for level in model)
            self._drafts.append(_Draft(depth, model, width, len(self.tree.node), by_model=True))
        if settings.mode == "explicit":
            if settings.drafter == "model":
                return self._below(must, model, [len(level) for level in model])
            return self._below(must, [], [CHILDREN] * len(self._catalog_drafter.levels(self.tree, must)))
        if self.request.contract == "exact":  # its open prefixes stand at all depths, and rarely need their children
            return NONE
        if self._tastes is None:
            self._tastes = memory.read(self.request.prompt)
        rows = len(must) + (len(self.request.prompt) if depth == 0 else 0)
        if model and self._fresh:
            grant = budget.grant(self.request.top_k, depth, rows, self._levels(must, depth, model), load)
            return self._below(must, model, grant.widths)
        return self._recall(must, depth, rows, budget, memory, load)

    def _recall(self, must: Ints, depth: int, rows: int, budget: Budget, memory: Memory, load: Load) -> Ints:
        """What memory has below `must`, as far as it pays."""
        inner, k = self.tree.catalog.depth - 1, self.request.top_k
        if depth >= inner:  # the children are leaves
            return NONE

        def recall(beams: int, length: int) -> list[Ints]:
            assert self._tastes is not None
            width = Width(beams, k, self.request.sampling)
            return memory.propose(self._tastes, must, self.tree.scores_of(must), width, length)

        first, end = self.tree.catalog.trie.children(must)
        grant = budget.grant_recall(
            k,
            depth,
            rows,
            int((end - first).sum()),
            lambda: self._levels(must, depth, recall(RECALLED, inner - depth)),
            load,
        )
        width, length = max(grant.widths, default=0), len(grant.widths)
        if budget.recalls_all(k):
            width, length = RECALLED, inner - depth
        levels = recall(width, length) if width > 0 else []
        if levels:
            self._drafts.append(_Draft(depth, levels, width, len(self.tree.node), by_model=False))
        return self._below(must, levels, grant.widths)

    def _levels(self, must: Ints, depth: int, model: list[Ints]) -> list[Level]:
        """What could be drafted for every depth below `must`."""
        trie = self.tree.catalog.trie
        levels = []
        for j, all_below in enumerate(self._catalog_sizes(must)):
            ranked = model[j] if j < len(model) else NONE
            below = np.zeros(len(ranked) + 1, np.int64)
            if depth + j + 2 < self.tree.catalog.depth:  # below that stand leaves, which need no scoring
                first, end = trie.children(ranked)
                np.cumsum(end - first, out=below[1:])
            levels.append(Level(len(ranked), below, all_below))
        return levels

    def _catalog_sizes(self, must: Ints) -> list[int | None]:
        """How many nodes the catalog has on every level below `must`; None where that is too many for a pass."""
        depth = int(self.tree.catalog.trie.depth_of(must[:1])[0])
        sizes: list[int | None] = [len(level) for level in self._catalog_drafter.levels(self.tree, must)]
        return sizes + [None] * (self.tree.catalog.depth - 1 - depth - len(sizes))

    def _below(self, must: Ints, model: list[Ints], widths: Sequence[int]) -> Ints:
        """The best `widths[j]` of each ranked level, or all CHILDREN of the level above.

        Left out: what is scored, what leads to no live item, and what hangs below nothing that is scored or goes along.
        """
        inner = int(self.tree.catalog.trie.level[-2])
        above, taken = must, [NONE]
        going = set(must.tolist())
        for j, width in enumerate(widths):
            if width == CHILDREN:
                level, _ = self.tree.children(np.sort(above[above < inner]))
                level = level[level < inner]
            else:
                level = model[j][:width] if j < len(model) else NONE
                parents = self.tree.catalog.trie.parents(level).tolist()
                level = level[
                    np.array([parent in going or self.tree.is_scored(parent) for parent in parents], np.bool_)
                ]
            if self.tree.live is not None:
                level = level[self.tree.is_alive(level)]
            above = level
            unscored = self.tree.unscored(level)
            taken.append(unscored[np.array([node not in going for node in unscored.tolist()], np.bool_)])
            going.update(unscored.tolist())
        return np.concatenate(taken)
