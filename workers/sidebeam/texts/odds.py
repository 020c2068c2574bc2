"""What the target says about drafted tokens that are not its first choice, where these may be accepted all the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sidebeam.knowledge.draft import ABOVE
from sidebeam.texts.accepted_path import Judged
from sidebeam.texts.request import Relaxed
from sidebeam.texts.token_tree import TokenTree

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MARGIN = 1e-3  # nats: more than rounding can make of a bound


@dataclass(frozen=True, slots=True)
class Dispute:
    """The part of one relaxed text's tree that may be accepted: the target must be asked for its odds."""

    start: int  # the pack's row of the text's last token
    tree: TokenTree
    k: int
    nodes: Ints  # [c]
    rows: Ints  # [r] what the nodes hang on: 0 is the text's last token, 1 + i is node i
    row: Ints  # [c] each node's place in `rows`

    @classmethod
    def of(cls, logits: Tensor, chosen: Tensor, start: int, tree: TokenTree, rule: Relaxed) -> Dispute | None:
        """None where nothing but the most likely tokens `chosen` [R] can be accepted, as far as the host can tell.

        q > p needs a logit above the largest + log p. Where that costs no copy to the host, it leaves few nodes, and
        mostly none; elsewhere all nodes are in dispute.
        """
        nodes = np.arange(len(tree))
        if logits.device.type == "cpu":
            own = logits.numpy()[start : start + 1 + len(tree)]
            rows = tree.parents + 1
            best = chosen.numpy()[start : start + 1 + len(tree)][rows]
            least = math.log(rule.p) - MARGIN if rule.p else -math.inf
            likeliest = tree.tokens == best
            near = likeliest | (own[rows, tree.tokens] > own[rows, best] + least)
            nodes = _reached(tree, near)
            if likeliest[nodes].all():
                return None
        rows, row = np.unique(tree.parents[nodes] + 1, return_inverse=True)
        return cls(start, tree, rule.k, nodes, rows, row)

    def judged(self, log_max: Any, log_ends: Any, log_q: Any, rank: Any) -> Judged:
        """Odds of the rows [r] and nodes [c], spread over the whole tree; others cannot be accepted."""
        n = len(self.tree)
        judged = Judged(np.zeros(1 + n), np.zeros(1 + n), np.full(n, -np.inf), np.full(n, np.inf))
        judged.log_max[self.rows], judged.log_ends[self.rows] = log_max, log_ends
        judged.log_q[self.nodes], judged.rank[self.nodes] = log_q, rank
        return judged


def _reached(tree: TokenTree, near: Bools) -> Ints:
    """Nodes that are `near` [n] and below none that is not."""
    reached = {ABOVE}
    parents = tree.parents.tolist()
    for node in np.flatnonzero(near).tolist():
        if parents[node] in reached:
            reached.add(node)
    reached.remove(ABOVE)
    return np.array(sorted(reached), np.int64)


def odds(logits: Tensor, disputes: Sequence[Dispute], ends: frozenset[int]) -> list[Tensor]:
    """Of all disputes' r rows and c nodes: log q_max [r], log-prob of all ends [r], log q [c], rank [c], float32.

    Ranks beyond the largest k asked for are that k + 1.
    """
    firsts = np.cumsum([0, *(len(dispute.rows) for dispute in disputes)])
    rows = np.concatenate([dispute.start + dispute.rows for dispute in disputes])  # [r]
    row = np.concatenate([first + dispute.row for first, dispute in zip(firsts, disputes, strict=False)])  # [c]
    token = np.concatenate([dispute.tree.tokens[dispute.nodes] for dispute in disputes])  # [c]
    own_rows, at, drafted = (torch.from_numpy(ints).to(logits.device) for ints in (rows, row, token))
    own = logits[own_rows]  # [r, vocab]
    whole = own.logsumexp(dim=-1)  # [r]
    top = own.topk(min(max(dispute.k for dispute in disputes), own.shape[1]), dim=-1).values  # [r, k]
    x = own[at, drafted]  # [c]
    rank = 1 + (top[at] > x[:, None]).sum(dim=-1)
    log_ends = own[:, sorted(ends)].logsumexp(dim=-1) - whole if ends else torch.full_like(whole, -torch.inf)
    return [top[:, 0] - whole, log_ends, x - whole[at], rank.float()]


def judgements(found: Sequence[npt.NDArray[Any]], disputes: Sequence[Dispute]) -> list[Judged]:
    """What `odds` found, on the host, dispute by dispute."""
    rows = np.cumsum([len(dispute.rows) for dispute in disputes])[:-1]
    nodes = np.cumsum([len(dispute.nodes) for dispute in disputes])[:-1]
    log_max, log_ends, log_q, rank = (
        np.split(array.astype(np.float64), cuts) for array, cuts in zip(found, (rows, rows, nodes, nodes), strict=True)
    )
    return [
        dispute.judged(*odds)
        for dispute, odds in zip(disputes, zip(log_max, log_ends, log_q, rank, strict=True), strict=True)
    ]
