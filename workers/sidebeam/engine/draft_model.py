"""The draft model: AtSpeed's drafter, a beam search of width N over gamma levels on a small language model.

Unless its bundle says otherwise its log-probs are shares of the trie's children, whatever the target's scoring: what a
small model gives to tokens that cannot follow says nothing of the target, and beams of different parents would be
compared by it. A draft that means the whole vocabulary, as one with the target's own weights does, is scored `raw`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sidebeam.catalog import ROOT, Catalog, LeafFilter, ranges, refuse_unfit
from sidebeam.engine.cells import Cells
from sidebeam.models import Pack, PackedModel
from sidebeam.search import AcceptedBeams, DraftTree, Width
from sidebeam.search.normalise import over_children
from sidebeam.search.request import Scoring

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

FROM_PROMPT = AcceptedBeams(0, np.array([ROOT]), np.zeros(1, np.float32))


class DraftModel:
    """Opens sessions, one per request; not thread-safe. `model` gives log-probs over the vocabulary, or bare logits.

    Logits become shares of children. `scoring` is the target's.
    """

    def __init__(self, model: PackedModel, catalog: Catalog, scoring: Scoring, max_prompt_tokens: int) -> None:
        self.model = model
        self.catalog = catalog
        self.scoring: Scoring = scoring
        self.max_prompt_tokens = max_prompt_tokens

    @property
    def vocab_size(self) -> int:
        """Size of the draft's vocabulary."""
        return int(self.model.config.vocab_size)

    def on(self, catalog: Catalog) -> DraftModel:
        """The same model and KV slots for another catalog; sessions of either may be open. Raises CatalogUnfit."""
        refuse_unfit(catalog, self.catalog, self.vocab_size)
        self.model.widen(catalog.trie.alphabet.astype(np.int64))
        return DraftModel(self.model, catalog, self.scoring, self.max_prompt_tokens)

    def open(self, prompt: Ints, excluded: Ints | None = None) -> DraftSession | None:
        """A session for one request, None while all KV slots are taken or the prompt is too long for one."""
        if not 0 < len(prompt) <= self.max_prompt_tokens:
            return None
        slot = self.model.slots.take()
        if slot is None:
            return None
        live = None if excluded is None else LeafFilter.without_leaves(self.catalog, excluded)
        return DraftSession(self, Cells(self.catalog, slot, prompt, self.model.slots.cells), live)

    def warm_up(self) -> None:
        """Take all memory and run the code paths once."""
        session = self.open(self.catalog.trie.alphabet[:1].astype(np.int64))
        if session is not None:
            session.propose(None, Width(8, 1), self.catalog.depth)
            session.close()


class DraftSession:
    """The draft's KV and log-probs for one request; every node is scored at most once."""

    def __init__(self, draft: DraftModel, cells: Cells, live: LeafFilter | None) -> None:
        self._draft = draft
        self._cells = cells
        self._live = live
        self._edges: dict[int, Floats] = {}  # scored node -> log-probs of its children
        self._closed = False

    def propose(self, start: AcceptedBeams | None, width: Width, length: int) -> DraftTree:
        """Beam search of that width for `length` levels below `start` with its scores, or below the prompt."""
        beam = start or FROM_PROMPT
        nodes, scores = beam.nodes, beam.log_probs
        drafted, totals = [], []
        for _ in range(min(length, self._draft.catalog.depth - beam.depth)):
            if not len(nodes):
                break
            children, sums, survivors = self._extend(nodes, scores, width.top_k)
            chosen = width.best(children, sums, survivors)
            nodes, scores = children[chosen], sums[chosen]
            drafted.append(nodes)
            totals.append(scores)
        if not drafted:
            return DraftTree(np.zeros(0, np.int64), np.zeros(0, np.float32))
        return DraftTree(np.concatenate(drafted), np.concatenate(totals))

    def close(self) -> None:
        """Free the KV slot; closing twice does nothing."""
        if not self._closed:
            self._closed = True
            self._draft.model.slots.give_back(self._cells.slot)

    def _extend(self, nodes: Ints, scores: Floats, k: int) -> tuple[Ints, Floats, int]:
        """All children of `nodes`, their cumulative log-probs, and how many are children of the first k nodes."""
        trie = self._draft.catalog.trie
        unknown = np.sort(nodes[[node not in self._edges for node in nodes.tolist()]])
        if len(unknown):
            self._score(unknown)
        first, end = trie.children(nodes)
        children = ranges(first, end - first)
        edges = np.concatenate([self._edges[node] for node in nodes.tolist()])
        return children, np.repeat(scores, end - first) + edges, int((end - first)[:k].sum())

    def _score(self, nodes: Ints) -> None:
        trie, model = self._draft.catalog.trie, self._draft.model
        placement = self._cells.place(nodes, 0)
        if placement is None:
            raise ValueError(f"a draft of {len(nodes)} beams does not fit into a KV slot")
        first, end = trie.children(nodes)
        counts = end - first
        children = ranges(first, end - first)
        values = model.score(
            Pack(
                tokens=placement.tokens,
                positions=placement.positions,
                segments=[placement.segment],
                heads=placement.head,
                row=np.repeat(np.arange(len(nodes)), counts),
                token=trie.tokens(children),
            )
        )
        every = alive = np.ones(len(children), np.bool_)
        if self._live is not None:
            alive = self._live.alive(self._draft.catalog, children)
        if not model.normalise:
            # Excluded items are out of these shares where they are out of the target's.
            values = over_children(values, counts, alive if self._draft.scoring == "catalog" else every)
        values = np.where(alive, values, np.float32(-np.inf))
        self._edges.update(zip(nodes.tolist(), np.split(values, np.cumsum(counts)[:-1]), strict=True))
