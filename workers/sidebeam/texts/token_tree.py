"""A draft as it enters a pass: preorder rows, ancestors, depths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.draft import ABOVE, TextDraft

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TokenTree:
    """Nodes below the text's last token in preorder, likelier siblings first.

    The accepted path is then often the first chain, whose K/V already lies where it belongs.
    """

    tokens: Ints  # [n]
    parents: Ints  # [n] `ABOVE` for first tokens
    depths: Ints  # [n] 1 for first tokens
    probs: Floats  # [n] as the drafter estimated them
    tiers: npt.NDArray[np.uint8]  # [n]

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def of(cls, draft: TextDraft, kept: Bools | None = None) -> TokenTree:
        """The nodes `kept` of a draft, with each node its parent; None: all."""
        nodes = range(len(draft)) if kept is None else np.flatnonzero(kept).tolist()
        order, parents, depths = _preorder(draft, nodes)
        return cls(
            tokens=draft.tokens[order].astype(np.int64),
            parents=np.array(parents, np.int64),
            depths=np.array(depths, np.int64),
            probs=draft.probs[order],
            tiers=draft.tiers[order],
        )

    @classmethod
    def empty(cls) -> TokenTree:
        """No drafted nodes."""
        return EMPTY

    def ancestors(self) -> Bools:
        """Whether j is i or above it.  # [n, n]"""
        above = np.eye(len(self), dtype=np.bool_)
        for depth in range(2, int(self.depths.max(initial=0)) + 1):
            level = np.flatnonzero(self.depths == depth)
            above[level] |= above[self.parents[level]]
        return above


def _preorder(draft: TextDraft, nodes: range | list[int]) -> tuple[list[int], list[int], list[int]]:
    """Nodes in preorder; the place of each one's parent among them; depths."""
    children: dict[int, list[int]] = {}
    above, probs = draft.parents.tolist(), draft.probs.tolist()
    for node in nodes:
        children.setdefault(above[node], []).append(node)
    order: list[int] = []
    parents: list[int] = []
    depths: list[int] = []
    stack = [(ABOVE, 0, node) for node in _last_first(children.get(ABOVE, []), probs)]
    while stack:
        parent, depth, node = stack.pop()
        place = len(order)
        order.append(node)
        parents.append(parent)
        depths.append(depth + 1)
        if node in children:
            stack += [(place, depth + 1, child) for child in _last_first(children[node], probs)]
    return order, parents, depths


def _last_first(siblings: list[int], probs: list[float]) -> list[int]:
    """Siblings as a stack wants them: the likeliest on top, the first of equals above the others."""
    return siblings if len(siblings) == 1 else sorted(siblings, key=lambda node: (-probs[node], node), reverse=True)


EMPTY = TokenTree.of(TextDraft.empty())
