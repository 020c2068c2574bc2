"""The student's own beams instead of the teacher's: what it will draft is what it is corrected on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedModel

from sidebeam.alignment.beam_tree import BeamTree
from sidebeam.alignment.forward import FAR, child_log_probs, hidden_rows
from sidebeam.alignment.losses import totals
from sidebeam.alignment.objective import BeamObjective
from sidebeam.alignment.tree_builder import PromptRows, TreeBuilder
from sidebeam.catalog import ROOT
from sidebeam.search.request import Scoring

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class OnPolicy:
    """`objective` on the beams that the student finds below each prompt, with the log-probs of a live target.

    A batch that comes with beams, such as one of validation, is judged on those.
    """

    objective: BeamObjective
    target: PreTrainedModel
    builder: TreeBuilder
    scoring: Scoring

    def to(self, device: torch.device) -> None:
        """Moves the target."""
        self.target.to(device)

    def loss(self, model: PreTrainedModel, batch: PromptRows | BeamTree) -> tuple[Tensor, int]:
        """The loss, and how many label tokens the batch has."""
        if isinstance(batch, PromptRows):
            with torch.no_grad():
                beams = self.search(model, batch)
                batch = self.ask(self.builder.build(batch, beams).to(batch.device))
        return self.objective.loss(model, batch)

    def search(self, model: PreTrainedModel, rows: PromptRows) -> Ints:
        """The student's beam search of the teacher's width over the levels that are trained.  # [B, L, K]"""
        catalog, top_k = self.builder.catalog, self.objective.knobs.top_k
        beams = np.full((len(rows.length), catalog.depth, top_k), ROOT, np.int64)
        for d in range(self.builder.depth):
            tree = self.builder.build(rows, beams, depth=d + 1).to(rows.device)
            scores = list(totals(tree.levels, child_log_probs(model, hidden_rows(model, tree), tree)))[-1]  # [B, K * C]
            best = scores.topk(min(top_k, scores.shape[1]), dim=1)
            place, child = np.divmod(best.indices.cpu().numpy(), tree.levels[d].live.shape[2])
            first, _ = catalog.trie.children(beams[:, d - 1] if d else beams[:, 0, :1])
            found = np.take_along_axis(first, place, axis=1) + child
            beams[:, d, : found.shape[1]] = np.where(best.values.cpu().numpy() > FAR / 2, found, ROOT)
        return beams

    def ask(self, tree: BeamTree) -> BeamTree:
        """The tree with what the target says about it."""
        if self.scoring == "catalog":
            spoken = tree
        else:  # over the vocabulary: children are named by token, not by their place in a cut head
            named = [
                level if head is None else replace(level, choice=head[level.choice])
                for level, head in zip(tree.levels, tree.heads, strict=True)
            ]
            spoken = replace(tree, levels=tuple(named), heads=(None,) * len(named))
        log_p = child_log_probs(self.target, hidden_rows(self.target, spoken), spoken)
        start = log_p[0].new_zeros(len(tree.tokens), 1)
        levels = []
        for level, log, total in zip(tree.levels, log_p, totals(tree.levels, log_p), strict=True):
            levels.append(replace(level, edge=log.masked_fill(~level.live, 0), start=start))
            start = total.gather(1, level.kept)
        return replace(tree, levels=tuple(levels))
