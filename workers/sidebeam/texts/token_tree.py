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
        likeliest = np.argsort(-draft.probs, kind="stable")
        if kept is not None:
            likeliest = likeliest[kept[likeliest]]
        order, parents, depths = _preorder(draft, likeliest[::-1].tolist())
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
        lines: list[int] = []  # of each node, bit j says so
        for node, parent in enumerate(self.parents.tolist()):
            lines.append(1 << node | (lines[parent] if parent != ABOVE else 0))
        n, size = len(self), (len(self) + 7) // 8
        packed = np.frombuffer(b"".join([line.to_bytes(size, "little") for line in lines]), np.uint8)
        return np.unpackbits(packed.reshape(n, size), axis=1, count=n, bitorder="little").view(np.bool_)


def _preorder(draft: TextDraft, nodes: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Nodes in preorder; the place of each one's parent among them; depths."""
    children: dict[int, list[int]] = {}
    above = draft.parents.tolist()
    for node in nodes:  # the last of siblings is to come first off the stack
        children.setdefault(above[node], []).append(node)
    order: list[int] = []
    parents: list[int] = []
    depths: list[int] = []
    stack = [(ABOVE, 1, node) for node in children.get(ABOVE, ())]
    while stack:
        parent, depth, node = stack.pop()
        place = len(order)
        order.append(node)
        parents.append(parent)
        depths.append(depth)
        if node in children:
            stack += [(place, depth + 1, child) for child in children[node]]
    return order, parents, depths


EMPTY = TokenTree.of(TextDraft.empty())
