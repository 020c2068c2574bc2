"""A small language model of the same vocabulary as a drafter of texts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from sidebeam.knowledge.draft import ABOVE, TextDraft
from sidebeam.models import Pack, PackedModel, Segment

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

WIDTH = 4  # nodes of a level that are looked below
CHILDREN = 4  # likeliest continuations of a node that are weighed
FLOOR = 0.05  # of a node's probability with all above it: below it the model stops
DEPTH = 8  # passes of the model for one draft, at most
CHUNK = 512  # rows of a prompt in one pass
NONE = np.zeros(0, np.int64)

Likeliest = tuple[Ints, Floats]  # tokens and their probabilities, best first


@dataclass(slots=True)
class _Nodes:
    """A tree that grows level by level; nodes that were looked below hold a cell after the text's."""

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    probs: list[float] = field(default_factory=list)
    cells: dict[int, int] = field(default_factory=dict)  # by node, counted from the text's end

    def add(self, parent: int, tokens: Ints, probs: Floats) -> list[int]:
        """New children of a node, or of the text's end. Returns those that are likely enough to be looked below."""
        above = 1.0 if parent == ABOVE else self.probs[parent]
        first = len(self.tokens)
        for token, prob in zip(tokens.tolist(), probs.tolist(), strict=True):
            if above * prob >= FLOOR:
                self.tokens.append(token)
                self.parents.append(parent)
                self.probs.append(above * prob)
        return list(range(first, len(self.tokens)))

    def line(self, node: int) -> list[int]:
        """The cells of a node and of those above it."""
        cells = []
        while node != ABOVE:
            cells.append(self.cells[node])
            node = self.parents[node]
        return cells

    def best(self, most: int) -> TextDraft:
        """The `most` likeliest nodes; a node is never likelier than its parent, so they are a tree."""
        order = np.argsort(-np.array(self.probs, np.float32), kind="stable")[:most]
        place = {int(node): at for at, node in enumerate(order)} | {ABOVE: ABOVE}
        return TextDraft(
            np.array([self.tokens[node] for node in order], np.int32),
            np.array([place[self.parents[node]] for node in order], np.int32),
            np.array([self.probs[node] for node in order], np.float32),
            np.zeros(len(order), np.uint8),
        )


class ModelDrafter:
    """Drafts the likeliest continuations under a model of its own, which must share the target's vocabulary.

    Every session owns one KV slot of that model; where none is free, it drafts nothing. Not thread-safe.
    """

    def __init__(self, model: PackedModel) -> None:
        self.model = model
        self.longest = min(int(model.config.max_position_embeddings), model.slots.cells)

    def open(self, prompt: Ints) -> ModelDraftSession:
        """Start on a text that begins after `prompt` [P]."""
        return ModelDraftSession(self, prompt)


class ModelDraftSession:
    """One text's K/V in the draft model: the text's tokens first, then, for one draft at a time, the tree's."""

    def __init__(self, drafter: ModelDrafter, prompt: Ints) -> None:
        self._drafter = drafter
        self._slot = drafter.model.slots.take()
        self._text = prompt.astype(np.int64)
        self._fed = 0  # tokens of the text whose K/V is in the slot
        self._next: Likeliest = (NONE, np.zeros(0, np.float32))  # after the last of them

    def extend(self, tokens: Ints) -> None:
        """The text goes on; the model reads it when it is asked next."""
        self._text = np.concatenate([self._text, tokens])

    def draft(self, budget_rows: int, max_depth: int) -> TextDraft:
        """The likeliest nodes of at most so many levels, a pass of the model for each; the first reads what is new."""
        room = self._drafter.longest - len(self._text)
        if self._slot is None or room < 0:
            return TextDraft.empty()
        while self._fed < len(self._text):
            self._read(self._text[self._fed : self._fed + CHUNK])
        nodes = _Nodes()
        level = nodes.add(ABOVE, *self._next)
        for _ in range(min(max_depth, DEPTH) - 1):
            level = sorted(level, key=lambda node: -nodes.probs[node])[:WIDTH]
            if not level or len(nodes.cells) + len(level) > room:
                break
            tokens, probs = self._look(nodes, level)
            level = [child for i, node in enumerate(level) for child in nodes.add(node, tokens[i], probs[i])]
        return nodes.best(budget_rows)

    def close(self) -> None:
        """Give the slot back; calling it again changes nothing."""
        slot, self._slot = self._slot, None
        if slot is not None:
            self._drafter.model.slots.give_back(slot)

    def _read(self, due: Ints) -> None:
        """Feed the next tokens of the text."""
        n, cells = len(due), self._fed + len(due)
        mask = np.zeros((n, cells), np.float32)
        mask[:, self._fed :] = np.triu(np.full((n, n), -np.inf, np.float32), 1)
        tokens, probs = self._pass(due, np.arange(cells), mask, n - 1)
        self._fed = cells
        self._next = tokens[0], probs[0]

    def _look(self, nodes: _Nodes, level: list[int]) -> Likeliest:
        """Feed one level below the text. Returns each node's continuations.  # [level, CHILDREN]"""
        n, text, before = len(level), len(self._text), len(nodes.cells)
        nodes.cells |= {node: before + i for i, node in enumerate(level)}
        lines = [nodes.line(node) for node in nodes.cells]
        mask = np.full((n, text + before + n), -np.inf, np.float32)
        mask[:, :text] = 0
        for row, line in enumerate(lines[before:]):
            mask[row, text + np.array(line)] = 0
        position = np.concatenate([np.arange(text), text - 1 + np.array([len(line) for line in lines])])
        return self._pass(np.array([nodes.tokens[node] for node in level], np.int64), position, mask, 0)

    def _pass(self, tokens: Ints, position: Ints, mask: Floats, first: int) -> Likeliest:
        """The likeliest continuations of the rows from `first` on; `position` [cells] is that of every cell."""
        assert self._slot is not None
        n, cell = len(tokens), len(position) - len(tokens)
        segment = Segment(self._slot, 0, n, cell, torch.from_numpy(mask), torch.from_numpy(position))
        logits = self._drafter.model.logits(Pack(tokens, position[cell:], [segment], np.arange(first, n), NONE, NONE))
        top = logits.softmax(dim=-1).topk(min(CHILDREN, logits.shape[1]), dim=-1)
        return top.indices.cpu().numpy(), top.values.cpu().numpy()
