"""From the target's nodes and leaves to what the caller sees: spelled prefixes and ranked items."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sidebeam.bundle import PromptBuilder
from sidebeam.catalog import Catalog
from sidebeam.v1 import recommendation_pb2 as pb

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Ranking:
    """Knows the catalog's items and how its tokens are spelled."""

    def __init__(self, catalog: Catalog, prompts: PromptBuilder) -> None:
        self._catalog = catalog
        self._prompts = prompts

    def beams(self, depth: int, nodes: Ints, log_probs: Floats) -> pb.RecommendResponse:
        """The event of an accepted depth."""
        sids = self._catalog.path(nodes).tolist()
        beams = [
            pb.Beam(sid=self._prompts.spell(sid), log_prob=log_prob)
            for sid, log_prob in zip(sids, log_probs.tolist(), strict=True)
        ]
        return pb.RecommendResponse(beams=pb.Beams(depth=depth, beams=beams))

    def items(
        self, leaves: Ints, log_probs: Floats, verified: Ints, excluded: Ints | None, top_k: int
    ) -> list[pb.Item]:
        """The first `top_k` items of leaves that come best first; those of one leaf in the catalog's order.

        `verified` [leaves] is how many tokens of each SID the target has accepted.
        """
        if not len(leaves):
            return []
        items, counts = self._catalog.members(leaves)
        of = np.repeat(np.arange(len(leaves)), counts)  # the place in `leaves` that each comes from
        if excluded is not None:
            kept = ~np.isin(items, excluded)
            items, of = items[kept], of[kept]
        items, of = items[:top_k], of[:top_k]
        spelled = [self._prompts.spell(sid) for sid in self._catalog.path(self._catalog.leaf_node(leaves)).tolist()]
        ranked = zip(
            self._catalog.item_ids(items), of.tolist(), log_probs[of].tolist(), verified[of].tolist(), strict=True
        )
        return [
            pb.Item(item_id=item_id, sid=spelled[leaf], log_prob=log_prob, rank=rank, verified=depth)
            for rank, (item_id, leaf, log_prob, depth) in enumerate(ranked, start=1)
        ]

    def dead_leaves(self, excluded: Ints) -> bytes:
        """Leaves all of whose items are excluded, as the workers want them."""
        leaves, gone = np.unique(self._catalog.leaf_of(excluded), return_counts=True)
        dead: bytes = leaves[gone == self._catalog.shared_by(leaves)].astype("<u4").tobytes()
        return dead
