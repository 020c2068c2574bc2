"""The trie over semantic IDs: three integer arrays, nodes numbered breadth first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
AnyInts = npt.NDArray[np.integer]

ROOT = 0


@dataclass(frozen=True, slots=True)
class Trie:
    """SID prefixes as nodes 0..n-1; the root is node 0 and each depth is one contiguous run of nodes.

    Breadth-first numbering makes the children of a node contiguous, and the leaves below it too:

    - `level[d] .. level[d+1]` are the nodes of depth d; depth L holds the leaves, leaf i being node `level[L] + i`.
    - `code[v]` is the last token of v's prefix, as an index into `alphabet`; siblings ascend by code.
    - `first_child[v] .. first_child[v+1]` are v's children; kept for inner nodes only.
    - `first_leaf[v]` is the first leaf below v, up to that of v's right neighbour at its depth; kept for depths below
      L-1, because one level above the leaves `first_child` says it already.
    """

    alphabet: AnyInts  # [codes] token ids, ascending
    level: Ints  # [L + 2]
    code: AnyInts  # [nodes]
    first_child: AnyInts  # [inner nodes + 1]
    first_leaf: AnyInts  # [nodes of depth < L - 1, + 1]

    @property
    def depth(self) -> int:
        """The SIDs' length L."""
        return len(self.level) - 2

    @property
    def n_nodes(self) -> int:
        """Nodes in all, the root included."""
        return int(self.level[-1])

    @property
    def n_leaves(self) -> int:
        """Distinct SIDs."""
        return int(self.level[-1] - self.level[-2])

    def depth_of(self, nodes: AnyInts) -> Ints:
        """Depth of each node, 0 for the root."""
        return np.searchsorted(self.level, nodes, side="right").astype(np.int64) - 1

    def tokens(self, nodes: AnyInts) -> Ints:
        """Last token id of each node's prefix; the root has none and must not be asked."""
        return self.alphabet[self.code[nodes]].astype(np.int64)

    def children(self, nodes: AnyInts) -> tuple[Ints, Ints]:
        """First child and one past the last child of each inner node."""
        return self.first_child[nodes].astype(np.int64), self.first_child[nodes + 1].astype(np.int64)

    def leaves(self, nodes: AnyInts) -> tuple[Ints, Ints]:
        """First leaf index and one past the last leaf index below each node, leaves included."""
        low = np.asarray(nodes, np.int64)
        after = low + 1
        last = np.isin(after, self.level)  # the last node of its depth: all leaves right of its first are below it
        return self._leaf_before(low), np.where(last, self.n_leaves, self._leaf_before(after))

    def _leaf_before(self, nodes: Ints) -> Ints:
        """How many leaves lie left of each node at its own depth."""
        leaf_base, above_base = int(self.level[-2]), int(self.level[-3])
        at_leaf = nodes - leaf_base
        above = self.first_child[np.clip(nodes, 0, len(self.first_child) - 1)].astype(np.int64) - leaf_base
        high = self.first_leaf[np.clip(nodes, 0, len(self.first_leaf) - 1)].astype(np.int64)
        return np.where(nodes >= leaf_base, at_leaf, np.where(nodes >= above_base, above, high))

    def parents(self, nodes: AnyInts) -> Ints:
        """Parent of each node; none of them may be the root."""
        wanted = np.asarray(nodes, self.first_child.dtype)  # of another type, all of first_child would be converted
        return np.searchsorted(self.first_child, wanted, side="right").astype(np.int64) - 1

    def paths(self, nodes: AnyInts) -> Ints:
        """Nodes on the way from depth 1 down to `nodes`, which share one depth d.  # [n, d]"""
        columns: list[Ints] = [np.asarray(nodes, np.int64)]
        if not columns[0].size:
            return np.zeros((0, 0), np.int64)
        for _ in range(int(self.depth_of(columns[0][:1])[0]) - 1):
            columns.append(self.parents(columns[-1]))
        paths: Ints = np.stack(columns[::-1], axis=1)
        return paths

    def roots(self, tokens: AnyInts) -> Ints:
        """The node of depth 1 that each token names, -1 where none does."""
        low, end = int(self.level[1]), int(self.level[2])
        node = np.searchsorted(self.alphabet[self.code[low:end]], tokens) + low
        known = self.alphabet[self.code[np.minimum(node, end - 1)]] == tokens
        return np.where(known, node, -1)

    def child(self, nodes: AnyInts, tokens: AnyInts) -> Ints:
        """The child of each inner node along its token, -1 where the catalog has none."""
        code = np.searchsorted(self.alphabet, tokens)
        code = np.minimum(code, len(self.alphabet) - 1)
        known = self.alphabet[code] == tokens
        low, end = self.children(nodes)
        high = end.copy()
        while np.any(low < high):  # a binary search of all rows at once
            middle = (low + high) // 2
            right = (low < high) & (self.code[np.minimum(middle, self.n_nodes - 1)] < code)
            low, high = np.where(right, middle + 1, low), np.where(right | (low >= high), high, middle)
        found = known & (low < end)
        found &= self.code[np.minimum(low, self.n_nodes - 1)] == code
        return np.where(found, low, -1)


def build_trie(sids: Ints) -> tuple[Trie, Ints, Ints]:
    """Build the trie over `sids` [items, L].

    Returns the trie, the item order by leaf [items], and the leaf of each item in that order [items].
    """
    alphabet, code = np.unique(sids, return_inverse=True)
    code = code.reshape(sids.shape)
    order = np.lexsort(code.T[::-1])
    code = code[order]
    n_items, length = code.shape
    starts_at = np.zeros(n_items, bool)  # rows where a new prefix of the current length begins
    starts_at[0] = True
    starts: list[Ints] = [np.zeros(1, np.int64)]
    for d in range(length):
        starts_at[1:] |= code[1:, d] != code[:-1, d]
        starts.append(np.flatnonzero(starts_at))
    level = np.concatenate([[0], np.cumsum([len(s) for s in starts])]).astype(np.int64)

    code_type = np.uint16 if len(alphabet) <= 1 << 16 else np.uint32
    codes = [np.zeros(1, code_type)] + [code[starts[d + 1], d].astype(code_type) for d in range(length)]
    first_child = [np.searchsorted(starts[d + 1], starts[d]) + level[d + 1] for d in range(length)]
    first_leaf = [np.searchsorted(starts[length], starts[d]) for d in range(max(length - 1, 1))]
    trie = Trie(
        alphabet=alphabet.astype(np.int32),
        level=level,
        code=np.concatenate(codes),
        first_child=np.concatenate([*first_child, level[-1:]]).astype(np.int32),
        first_leaf=np.concatenate([*first_leaf, [len(starts[length])]]).astype(np.int32),
    )
    leaf = np.cumsum(starts_at) - 1
    return trie, order.astype(np.int64), leaf.astype(np.int64)


def ranges(starts: Ints, counts: Ints) -> Ints:
    """`starts[0] .. starts[0]+counts[0]-1`, then the next range, and so on, as one array."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    flat: Ints = np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - counts), counts)
    return flat
