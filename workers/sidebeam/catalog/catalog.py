"""The catalog: items, their SIDs and the trie over them, at one content version."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sidebeam.catalog.file import read_arrays, write_arrays
from sidebeam.catalog.items import ItemIds
from sidebeam.catalog.trie import ROOT, Trie, build_trie, ranges

Ints = npt.NDArray[np.int64]
AnyInts = npt.NDArray[np.integer]


class CatalogError(ValueError):
    """The items cannot make a catalog; the message names the item and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """Immutable. Items are numbered 0..n_items-1 by ascending id, SIDs (leaves) by ascending tokens.

    Several items may share one leaf; they then rank by ascending id.
    """

    version: str
    ids: ItemIds
    trie: Trie
    leaf_items: AnyInts  # [items] item indices in leaf order
    item_leaf: AnyInts  # [items] leaf of each item
    spare_leaf: AnyInts  # [items - leaves] the leaf of every item beyond the first of its leaf, ascending

    @classmethod
    def build(cls, ids: Sequence[str], sids: npt.ArrayLike) -> Catalog:
        """Build from item ids and their SIDs as token ids [items, L].

        Raises CatalogError for no items, repeated ids, or an array that is not two-dimensional.
        """
        tokens = np.asarray(sids, np.int64)
        if not len(ids):
            raise CatalogError("a catalog needs at least one item; none given")
        if tokens.ndim != 2 or len(tokens) != len(ids) or not tokens.shape[1]:
            raise CatalogError(f"{len(ids)} items need SIDs of shape [{len(ids)}, L]; given {tokens.shape}")
        if len(set(ids)) != len(ids):
            repeated = next(item_id for i, item_id in enumerate(ids) if item_id in ids[:i])
            raise CatalogError(f"item id {repeated!r} stands in the catalog more than once")
        item_ids, by_id = ItemIds.build(ids)
        trie, leaf_items, leaves = build_trie(tokens[by_id])
        item_leaf = np.empty(len(ids), np.int32)
        item_leaf[leaf_items] = leaves
        spare_leaf = leaves[1:][leaves[1:] == leaves[:-1]].astype(np.int32)
        parts = _arrays(item_ids, trie, leaf_items.astype(np.int32), item_leaf, spare_leaf)
        return cls._from_arrays(parts, _fingerprint(parts))

    def save(self, path: Path) -> None:
        """Write one file that `open` maps; it appears under `path` only when it is whole."""
        write_arrays(path, self.version, self._arrays())

    @classmethod
    def open(cls, path: Path) -> Catalog:
        """Map a file that `save` wrote. Raises CatalogFileError if it is not one, or is cut short."""
        version, parts = read_arrays(path)
        return cls._from_arrays(parts, version)

    @property
    def is_intact(self) -> bool:
        """Whether the arrays are those that the version was made of; reads all of them."""
        return _fingerprint(self._arrays()) == self.version

    @property
    def n_items(self) -> int:
        """How many items."""
        return self.ids.count

    @property
    def n_leaves(self) -> int:
        """How many distinct SIDs."""
        return self.trie.n_leaves

    @property
    def depth(self) -> int:
        """The SIDs' length L."""
        return self.trie.depth

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(part.nbytes for part in self._arrays().values())

    def item_index(self, item_id: str) -> int | None:
        """Index of an item, None if the catalog has no such id."""
        index = int(self.ids.indices([item_id])[0])
        return None if index < 0 else index

    def item_indices(self, item_ids: Sequence[str]) -> Ints:
        """Index of each item, -1 where the catalog has no such id."""
        return self.ids.indices(item_ids)

    def item_ids(self, indices: AnyInts) -> list[str]:
        """Id of each item."""
        return self.ids.names(np.asarray(indices))

    def leaf_of(self, indices: AnyInts) -> Ints:
        """Leaf of each item."""
        leaves: Ints = np.take(self.item_leaf, indices).astype(np.int64)  # int64 scatters twice as fast as int32
        return leaves

    def items_of(self, leaf: int) -> Ints:
        """Items that share a leaf, ascending."""
        return self.members(np.array([leaf]))[0]

    def members(self, leaves: AnyInts) -> tuple[Ints, Ints]:
        """Items of each leaf in turn, and how many each has."""
        before, counts = self._spares(leaves)
        return self.leaf_items[ranges(leaves + before, counts)].astype(np.int64), counts

    def shared_by(self, leaves: AnyInts) -> Ints:
        """How many items share each leaf."""
        return self._spares(leaves)[1]

    def leaf_node(self, leaves: AnyInts) -> Ints:
        """Trie node of each leaf."""
        return np.asarray(leaves, np.int64) + int(self.trie.level[-2])

    def node_leaf(self, nodes: AnyInts) -> Ints:
        """Leaf index of each leaf node."""
        return np.asarray(nodes, np.int64) - int(self.trie.level[-2])

    def sid_of(self, item: int) -> Ints:
        """Token ids of an item's SID.  # [L]"""
        sid: Ints = self.sids_of(np.array([item]))[0]
        return sid

    def sids_of(self, items: AnyInts) -> Ints:
        """Token ids of each item's SID.  # [n, L]"""
        return self.path(self.leaf_node(self.item_leaf[np.asarray(items, np.int64)]))

    def path(self, nodes: AnyInts) -> Ints:
        """Token ids of the prefixes that `nodes`, all of one depth d, stand for.  # [n, d]"""
        return self.trie.tokens(self.trie.paths(nodes))

    def spell(self, nodes: AnyInts) -> tuple[Ints, Ints, Ints]:
        """Write nodes as a token tree: (all nodes, their tokens, their parents as indices into the tree, or -1).

        Ancestors that `nodes` lacks are added; parents stand before children, so `resolve` undoes it.
        """
        closed = [np.unique(np.asarray(nodes, np.int64))]
        while closed[-1].size:
            above = self.trie.parents(closed[-1][closed[-1] != ROOT])
            closed.append(np.unique(above[above != ROOT]))
        tree = np.unique(np.concatenate(closed))
        tree = tree[tree != ROOT]
        parents = self.trie.parents(tree)
        at = np.searchsorted(tree, parents)
        return tree, self.trie.tokens(tree), np.where(parents == ROOT, -1, at)

    def resolve(self, tokens: AnyInts, parents: AnyInts) -> Ints:
        """Nodes of a token tree whose parents stand before their children; -1 where the catalog has no such prefix.

        Raises ValueError if a parent does not stand before its child.
        """
        tokens, parents = np.asarray(tokens, np.int64), np.asarray(parents, np.int64)
        if np.any(parents >= np.arange(len(parents))) or np.any(parents < -1):
            raise ValueError("a parent must stand before its child")
        nodes = np.full(len(tokens), -1, np.int64)
        todo = parents == -1
        known = np.zeros(len(tokens), bool)
        at = np.full(len(tokens), ROOT, np.int64)
        for _ in range(self.depth):
            nodes[todo] = self.trie.child(at[todo], tokens[todo])
            known |= todo
            todo = ~known & (parents >= 0) & (nodes[parents] >= 0)
            at[todo] = nodes[parents[todo]]
        return nodes

    def _spares(self, leaves: AnyInts) -> tuple[Ints, Ints]:
        """Spare items of the leaves before each leaf, and how many items each has, its first one counted."""
        before, after = (np.searchsorted(self.spare_leaf, leaves, side) for side in ("left", "right"))
        return before, after + 1 - before

    def _arrays(self) -> dict[str, AnyInts]:
        return _arrays(self.ids, self.trie, self.leaf_items, self.item_leaf, self.spare_leaf)

    @classmethod
    def _from_arrays(cls, parts: dict[str, Any], version: str) -> Catalog:
        trie = Trie(parts["alphabet"], parts["level"], parts["code"], parts["first_child"], parts["first_leaf"])
        ids = ItemIds(len(parts["item_leaf"]), parts["numbers"], parts["offsets"], parts["text"])
        return cls(version, ids, trie, parts["leaf_items"], parts["item_leaf"], parts["spare_leaf"])


def _arrays(
    ids: ItemIds, trie: Trie, leaf_items: AnyInts, item_leaf: AnyInts, spare_leaf: AnyInts
) -> dict[str, AnyInts]:
    return {
        "alphabet": trie.alphabet,
        "level": trie.level,
        "code": trie.code,
        "first_child": trie.first_child,
        "first_leaf": trie.first_leaf,
        "numbers": ids.numbers,
        "offsets": ids.offsets,
        "text": ids.text,
        "leaf_items": leaf_items,
        "item_leaf": item_leaf,
        "spare_leaf": spare_leaf,
    }


def _fingerprint(parts: dict[str, AnyInts]) -> str:
    digest = hashlib.sha256()
    for name, part in parts.items():
        digest.update(f"{name}:{part.dtype.str}:{part.shape};".encode())
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()[:16]
