"""Beam search as lazy evaluation: the state of one request between passes. The only place where decoding is decided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.catalog import ROOT, Catalog, LeafFilter
from sidebeam.search.budget import NOTHING, Budget, Grant, Load
from sidebeam.search.contract import BeamRule, ExactRule, SelectionRule
from sidebeam.search.drafter import CatalogDrafter, ModelDrafter
from sidebeam.search.normalise import over_children
from sidebeam.search.request import AcceptedBeams, DraftAdvice, DraftTree, DraftWanted, Scoring, SearchRequest
from sidebeam.search.scored_tree import NONE, ScoredTree

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

EXACT_WIDTH = 4  # times K: open prefixes an exact search sends into one pass


@dataclass(frozen=True, slots=True)
class _Draft:
    """A model's draft as it was made, to learn later what the target wanted of it."""

    depth: int
    levels: list[Ints]


class Search:
    """One request. The loop asks `rows`, runs a pass over them, and hands the log-probs to `settle`.

    `limit` bounds the nodes of one pass. The answer depends on `settle`'s log-probs alone, never on what was drafted.
    """

    def __init__(self, catalog: Catalog, request: SearchRequest, scoring: Scoring, limit: int) -> None:
        live = None if request.excluded is None else LeafFilter.without_leaves(catalog, request.excluded)
        self.request = request
        self.tree = ScoredTree(catalog, live)
        self.drafted = 0
        self._scoring = scoring
        self._limit = limit
        self._rule: SelectionRule = (
            BeamRule(request.top_k, catalog.depth)
            if request.contract == "beam"
            else ExactRule(request.top_k, catalog.depth, min(EXACT_WIDTH * request.top_k, limit))
        )
        length = request.draft.length or catalog.depth
        self._catalog_drafter = CatalogDrafter(length, min(request.draft.beams or limit, limit))
        self._model_drafter = ModelDrafter(length)
        self._drafted_nodes: list[Ints] = []
        self._drafts: list[_Draft] = []
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
    def accepted(self) -> int:
        """Drafted nodes that the answer needed."""
        if not self._drafted_nodes:
            return 0
        return int(np.isin(np.concatenate(self._drafted_nodes), self._rule.wanted(self.tree)).sum())

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

    def rows(self, budget: Budget, load: Load) -> Ints:
        """Nodes to score in the next pass, ascending: those the answer needs, and drafts as far as they pay."""
        must = self._rule.must(self.tree)[: self._limit]
        drafted = self._draft(must, budget, load)[: self._limit - len(must)]
        self._fresh = False
        self.drafted += len(drafted)
        self._drafted_nodes.append(drafted)
        return np.sort(np.concatenate([must, drafted]))

    def settle(self, nodes: Ints, values: Floats) -> list[AcceptedBeams]:
        """Take in the pass: for each of `nodes`, in turn, the log-prob (catalog scoring: logit) of every child.

        Returns the depths accepted by it.
        """
        self._expand(nodes, values)
        accepted = self._rule.advance(self.tree)
        while self._scoring == "catalog" and (forced := self._forced()).size:
            _, counts = self.tree.children(forced)
            self._expand(forced, np.zeros(int(counts.sum()), np.float32))
            accepted += self._rule.advance(self.tree)
        if accepted:
            self._last = accepted[-1]
        return accepted

    def learn(self, budget: Budget, accepted: list[AcceptedBeams]) -> None:
        """Tell the budget which drafted nodes the target wanted."""
        inner = self.tree.catalog.depth
        for beams in accepted:
            for draft in self._drafts:
                level = beams.depth - draft.depth
                if beams.depth < inner and 1 <= level <= len(draft.levels):
                    k = self.request.top_k
                    budget.coverage.observe(k, draft.depth, level, draft.levels[level - 1], beams.nodes)

    def catalog_sizes(self) -> list[int]:
        """How many nodes the catalog's levels below the prompt hold, as far as one pass takes them."""
        return [len(level) for level in self._catalog_drafter.levels(self.tree, np.array([ROOT]))]

    def _expand(self, nodes: Ints, values: Floats) -> None:
        if self._scoring == "catalog":
            children, counts = self.tree.children(nodes)
            values = over_children(values, counts, self.tree.is_alive(children))
        self.tree.expand(nodes, values)

    def _forced(self) -> Ints:
        """Needed nodes with one live child: renormalised, it costs log 1 = 0, and no pass.  # ascending"""
        must = np.sort(self._rule.must(self.tree))
        if not len(must) or must[0] == ROOT:
            return NONE
        children, counts = self.tree.children(must)
        live = np.add.reduceat(self.tree.is_alive(children).astype(np.int64), np.cumsum(counts) - counts)
        forced: Ints = must[live == 1]
        return forced

    def _draft(self, must: Ints, budget: Budget, load: Load) -> Ints:
        settings = self.request.draft
        if settings.mode == "off" or not len(must):
            return NONE
        model = self._model_drafter.levels(self.tree, must) if settings.drafter == "model" else []
        depth = int(self.tree.catalog.trie.depth_of(must[:1])[0])
        if model and self._fresh:
            self._drafts.append(_Draft(depth, model))
        if settings.mode == "explicit":
            levels = model if settings.drafter == "model" else self._catalog_drafter.levels(self.tree, must)
            return self._below(must, levels, [len(level) for level in levels])
        catalog = self._catalog_drafter.levels(self.tree, must) if self.request.contract == "beam" else []
        prompt = len(self.request.prompt) if depth == 0 else 0
        k, rows = self.request.top_k, len(must) + prompt
        by_model = budget.grant_model(k, depth, rows, [len(level) for level in model], load) if self._fresh else NOTHING
        by_catalog = budget.grant_catalog(k, rows, [len(level) for level in catalog], load)
        grant: Grant = max(by_model, by_catalog, key=lambda g: g.gain)
        return self._below(must, model if grant is by_model else catalog, list(grant.widths))

    def _below(self, must: Ints, levels: list[Ints], widths: list[int]) -> Ints:
        """The first `widths[j]` of each level: unscored, alive, and with a parent that is scored or goes along."""
        taken = [must]
        for level, width in zip(levels, widths, strict=False):
            nodes = self.tree.unscored(level[:width])
            if self.tree.live is not None:
                nodes = nodes[self.tree.is_alive(nodes)]
            parents = self.tree.catalog.trie.parents(nodes)
            reached = np.isin(parents, np.concatenate(taken))
            reached |= np.fromiter((self.tree.is_scored(p) for p in parents.tolist()), np.bool_, len(parents))
            taken.append(nodes[reached])
        drafted = np.concatenate(taken[1:]) if len(taken) > 1 else NONE
        return drafted[~np.isin(drafted, must)]

    def advice(self, budget: Budget, load: Load, default_beams: int) -> DraftAdvice:
        """The draft that would pay for a next request like this one."""
        length = self.tree.catalog.depth - 1
        most = DraftAdvice(max(default_beams, self.request.top_k), length)
        return budget.advise(self.request.top_k, len(self.request.prompt), self.catalog_sizes(), load, most)
