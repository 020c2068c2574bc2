"""Prompts and the beams below them as one batch, built without a Python loop over samples or beams."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from sidebeam.alignment.beam_paths import BeamPaths
from sidebeam.alignment.beam_tree import BeamTree, Level
from sidebeam.catalog import ROOT, Catalog

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PromptRows:
    """Prompts as rows that end together, and the items that the users took."""

    tokens: Ints  # [B, T] zeros before the prompt
    length: Ints  # [B]
    labels: Ints  # [B, L] token ids
    device: torch.device = torch.device("cpu")  # noqa: RUF009  # where trees of them are wanted

    def to(self, device: torch.device) -> PromptRows:
        """The same rows, for another device."""
        return replace(self, device=device)


@dataclass(frozen=True, slots=True)
class Said:
    """What the target says about the beams: the children's log-probs of each sample in turn, see `Record`."""

    edges: npt.NDArray[np.floating]  # [all samples]
    start: Ints  # [B] each sample's first edge
    scores: Floats  # [B, L, K]


class TreeBuilder:
    """For objectives that train the first `depth` levels of a catalog's trie.

    `cut`: logits are wanted of each depth's own tokens alone, for objectives that stay within live children.
    """

    def __init__(self, catalog: Catalog, depth: int, *, cut: bool) -> None:
        self.catalog = catalog
        self.depth = depth
        trie = catalog.trie
        self._heads: list[Ints | None] = [None] * depth
        self._choice = np.zeros(trie.n_nodes, np.int64)  # [nodes] the index of each node's token in its depth's head
        self._choice[1:] = trie.tokens(np.arange(1, trie.n_nodes))
        for d in range(depth if cut else 0):
            below = slice(int(trie.level[d + 1]), int(trie.level[d + 2]))
            self._heads[d], self._choice[below] = np.unique(self._choice[below], return_inverse=True)

    def build(self, rows: PromptRows, beams: Ints, said: Said | None = None, depth: int | None = None) -> BeamTree:
        """The tree of `beams` [B, L, K], of its first `depth` levels. Without `said`, the target's values are zeros."""
        depth = self.depth if depth is None else depth
        trie = self.catalog.trie
        paths = BeamPaths.of(beams, trie)
        inner = [np.where(nodes > ROOT, trie.tokens(np.maximum(nodes, 1)), 0) for nodes in paths.nodes[1:depth]]
        depths = [np.full(tokens.shape[1], d) for d, tokens in enumerate(inner, start=1)]
        prefixes = rows.labels.shape[1] - 1
        below = np.concatenate([*depths, np.arange(1, prefixes + 1)]).astype(np.int64)  # the tree rows' depths
        width = rows.tokens.shape[1]
        padding = width - rows.length  # [B]
        own = np.maximum(np.arange(width) - padding[:, None], 0)
        return BeamTree(
            tokens=torch.from_numpy(np.concatenate([rows.tokens, *inner, rows.labels[:, :-1]], axis=1)),
            positions=torch.from_numpy(np.concatenate([own, rows.length[:, None] + below - 1], axis=1)),
            mask=torch.from_numpy(_mask(padding, width, paths, depth, prefixes)[:, None]),
            labels=torch.from_numpy(rows.labels),
            columns=(1, *(tokens.shape[1] for tokens in inner), prefixes),
            levels=tuple(self._levels(paths, said, depth)),
            heads=tuple(None if head is None else torch.from_numpy(head) for head in self._heads[:depth]),
        )

    def _levels(self, paths: BeamPaths, said: Said | None, depth: int) -> list[Level]:
        trie = self.catalog.trie
        through = [torch.from_numpy(counts.astype(np.float32)) for counts in paths.final_below()]
        levels, at = [], None if said is None else said.start
        for d in range(depth):
            nodes, kept, place = paths.nodes[d], paths.nodes[d + 1], paths.parents[d + 1]
            first, end = trie.children(nodes)
            counts = np.where((nodes > ROOT) | (d == 0), end - first, 0)  # [B, K]
            among = np.arange(counts.max())
            live = among < counts[..., None]  # [B, K, C]
            edge, start = np.zeros(live.shape, np.float32), np.zeros(nodes.shape, np.float32)
            if said is not None and at is not None:
                offset = at[:, None] + np.cumsum(counts, axis=1) - counts
                edge[live] = said.edges[(offset[..., None] + among)[live]]
                start = start if d == 0 else np.ascontiguousarray(said.scores[:, d - 1, : nodes.shape[1]])
                at = at + counts.sum(axis=1)
            own = kept - np.take_along_axis(first, place, axis=1)  # [B, k] each beam among its parent's children
            levels.append(
                Level(
                    choice=torch.from_numpy(self._choice[np.where(live, first[..., None] + among, 1)]),
                    live=torch.from_numpy(live),
                    edge=torch.from_numpy(edge),
                    start=torch.from_numpy(start),
                    through=through[d],
                    kept=torch.from_numpy(np.where(kept > ROOT, place * len(among) + own, 0)),
                    is_kept=torch.from_numpy(kept > ROOT),
                    paths=through[d + 1],
                )
            )
        return levels


def _mask(padding: Ints, width: int, paths: BeamPaths, depth: int, prefixes: int) -> Bools:
    """Where each row may look: at the prompt up to itself, and from the tree at its ancestors.  # [B, S, S]"""
    starts = width + np.cumsum([0, *(nodes.shape[1] for nodes in paths.nodes[1:depth])])  # of depth 1, 2, ..., label
    rows = int(starts[-1]) + prefixes
    mask = np.zeros((len(padding), rows, rows), np.bool_)
    seen = np.arange(width) >= padding[:, None]  # [B, width]
    mask[:, :width, :width] = np.tri(width, dtype=np.bool_) & seen[:, None]
    mask[:, width:, :width] = seen[:, None]
    sample = np.arange(len(padding))[:, None]
    for d, above in enumerate(paths.ancestors(depth)):
        for e, place in enumerate(above):
            mask[sample, starts[d - 1] + np.arange(place.shape[1]), starts[e] + place] = True
    mask[:, starts[-1] :, starts[-1] :] = np.tri(prefixes, dtype=np.bool_)
    mask[:, np.arange(rows), np.arange(rows)] = True
    return mask
