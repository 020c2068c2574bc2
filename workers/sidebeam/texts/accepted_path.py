"""The path through a token tree that is accepted, from what the target says about its rows and nodes."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.draft import ABOVE
from sidebeam.texts.request import Relaxed
from sidebeam.texts.token_tree import TokenTree
from sidebeam.texts.vocabulary import Vocabulary

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats64 = npt.NDArray[np.float64]
Path = list[int]  # nodes of a tree, each the parent of the next


@dataclass(frozen=True, slots=True)
class Judged:
    """Relaxed verification's view of one tree: row 0 is the text's last token, row 1 + i is node i."""

    log_max: Floats64  # [1 + n] log-prob of the most likely next token
    log_ends: Floats64  # [1 + n] log-prob of all end tokens together
    log_q: Floats64  # [n] log-prob of each node, after its parent
    rank: Floats64  # [n] 1 + tokens with a strictly larger logit; beyond k it says so, no more


def followed(tree: TokenTree, winners: Ints, ends: Set[int]) -> Path:
    """The nodes that are the target's choice, one after the other, up to an end. `winners` [1 + n] are its choices."""
    if not len(tree):
        return []
    path: Path = []
    at = ABOVE
    hits = tree.tokens == winners[tree.parents + 1]
    for node in np.flatnonzero(hits).tolist():
        if tree.parents[node] == at:
            path.append(node)
            at = node
            if int(tree.tokens[node]) in ends:
                break
    return path


def longest(
    tree: TokenTree, winners: Ints, judged: Judged, rule: Relaxed, divergence: float, vocabulary: Vocabulary
) -> Path:
    """The longest path of accepted nodes; of equally long ones the likeliest, then the first in preorder (LASER 1.7).

    `divergence` is what the text has spent of `rule.max_divergence`.
    """
    rows = tree.parents + 1
    chosen = tree.tokens == winners[rows]
    passable = chosen | _relaxable(tree, winners, judged, rule, vocabulary)
    loss = np.where(chosen, 0.0, judged.log_max[rows] - judged.log_q)
    ends = set(vocabulary.ends)
    spent = {ABOVE: divergence}  # by accepted node; the key set is the accepted set
    log_prob = {ABOVE: 0.0}
    best, best_key = ABOVE, (0, 0.0)
    for node in np.flatnonzero(passable).tolist():
        parent = int(tree.parents[node])
        if parent not in spent or (parent != ABOVE and int(tree.tokens[parent]) in ends):
            continue
        total = spent[parent] + float(loss[node])
        if not chosen[node] and total > rule.max_divergence:
            continue
        spent[node] = total
        log_prob[node] = log_prob[parent] + float(judged.log_q[node])
        key = (int(tree.depths[node]), log_prob[node])
        if best == ABOVE or key > best_key:
            best, best_key = node, key
    path: Path = []
    while best != ABOVE:
        path.append(best)
        best = int(tree.parents[best])
    return path[::-1]


def _relaxable(tree: TokenTree, winners: Ints, judged: Judged, rule: Relaxed, vocabulary: Vocabulary) -> Bools:
    """Nodes that may be accepted without being the most likely token, as far as they themselves decide.  # [n]"""
    rows = tree.parents + 1
    open_end = ~np.isin(winners, vocabulary.ends) & (np.exp(judged.log_ends) <= rule.p)  # [1 + n]
    relaxable: Bools = (judged.rank <= rule.k) & (np.exp(judged.log_q) > rule.p) & open_end[rows]
    if rule.keep_protected:
        relaxable &= ~vocabulary.protected[tree.tokens] & ~vocabulary.protected[winners[rows]]
    return relaxable
