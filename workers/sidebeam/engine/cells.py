"""Which cell of a KV slot holds which node, and what each new row may see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from sidebeam.catalog import ROOT, Catalog
from sidebeam.models import Segment

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Placement:
    """Rows of one request, ready for the pack; `head[i]` is the row, within the segment, of the i-th scored node."""

    tokens: Ints  # [rows]
    positions: Ints  # [rows]
    segment: Segment
    head: Ints  # [scored nodes]


class Cells:
    """The prompt fills the first cells once; tree nodes follow in the order in which they were sent.

    Nodes one level above the leaves are never anyone's ancestor in a later pass, so their cells are used again. If the
    slot runs out of cells, the tree's are all forgotten, and nodes still needed are sent again with their ancestors.
    """

    def __init__(self, catalog: Catalog, slot: int, prompt: Ints, cells: int) -> None:
        self.slot = slot
        self._catalog = catalog
        self._prompt = prompt
        self._capacity = cells
        self._used = 0
        self._cell: dict[int, int] = {}
        self._ancestors = np.zeros((cells, catalog.depth), np.int64)  # cells a tree row sees beyond the prompt
        self._position = np.zeros(cells, np.int64)

    def place(self, nodes: Ints, start: int) -> Placement | None:
        """Give `nodes`, ascending, rows from pack row `start` on; None if the slot cannot hold them at once."""
        rows = self._with_missing_ancestors(nodes)
        prompt = self._prompt if self._used == 0 else self._prompt[:0]
        if self._used + len(prompt) + len(rows) > self._capacity and self._cell:
            self._cell.clear()
            self._used = len(self._prompt)
            rows = self._with_missing_ancestors(nodes)
        if self._used + len(prompt) + len(rows) > self._capacity:
            return None
        first = self._used
        tree = first + len(prompt)
        n = len(prompt) + len(rows)
        trie = self._catalog.trie
        depths = trie.depth_of(rows)
        self._position[first:tree] = np.arange(len(prompt))
        self._position[tree : first + n] = len(self._prompt) + depths - 1
        self._link(rows, depths, tree)
        placement = Placement(
            tokens=np.concatenate([prompt, trie.tokens(rows)]),
            positions=self._position[first : first + n].copy(),
            segment=Segment(
                slot=self.slot,
                start=start,
                rows=n,
                cell=first,
                mask=self._mask(first, tree, n) if len(rows) or first else None,
                position=torch.from_numpy(self._position[: first + n].copy()),
            ),
            head=np.where(nodes == ROOT, len(prompt) - 1, len(prompt) + np.searchsorted(rows, nodes)),
        )
        self._used = tree + int(np.searchsorted(depths, self._catalog.depth - 1))
        return placement

    def _with_missing_ancestors(self, nodes: Ints) -> Ints:
        """Rows for `nodes` and those ancestors whose K/V is not in the slot; the root's row is the prompt's last."""
        trie = self._catalog.trie
        rows = [nodes[nodes != ROOT]]
        above = rows[0]
        while above.size:
            above = np.unique(trie.parents(above))
            above = above[[node != ROOT and node not in self._cell for node in above.tolist()]]
            rows.append(above)
        return np.unique(np.concatenate(rows))

    def _link(self, rows: Ints, depths: Ints, tree: int) -> None:
        """Note each row's cell and the cells of its ancestors; parents come first."""
        cells = tree + np.arange(len(rows))
        inner = self._catalog.depth - 1
        kept = depths < inner
        self._cell.update(zip(rows[kept].tolist(), cells[kept].tolist(), strict=True))
        self._ancestors[cells] = cells[:, None]
        parents = self._catalog.trie.parents(np.maximum(rows, 1))
        for depth in range(2, inner + 1):
            low, high = np.searchsorted(depths, depth), np.searchsorted(depths, depth, side="right")
            above = np.fromiter((self._cell[p] for p in parents[low:high].tolist()), np.int64, high - low)
            self._ancestors[cells[low:high], : depth - 1] = self._ancestors[above, : depth - 1]

    def _mask(self, first: int, tree: int, n: int) -> torch.Tensor:
        """Additive mask of the rows in cells `first..first+n` over all cells up to theirs.  # [n, first + n]"""
        mask = np.full((n, first + n), -np.inf, np.float32)
        new_prompt = tree - first
        if new_prompt:
            mask[:new_prompt, :new_prompt] = np.triu(np.full((new_prompt, new_prompt), -np.inf, np.float32), 1)
        mask[new_prompt:, : len(self._prompt)] = 0
        mask[np.arange(new_prompt, n)[:, None], self._ancestors[tree : first + n]] = 0
        return torch.from_numpy(mask)
