"""How many drafted rows a pass carries: as many as bring the most tokens per time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.texts.pace import Pace

Bools = npt.NDArray[np.bool_]
Floats64 = npt.NDArray[np.float64]

MIN_GAIN = 0.03  # of the pass without drafts: what drafts must promise, since estimates err


@dataclass(frozen=True, slots=True)
class Grant:
    """Which nodes of each text's draft are in the pass, and the time each text is expected to be spared by its own."""

    kept: list[Bools]  # of each text [n]
    gains: list[float]  # of each text, nanoseconds


def grant(pace: Pace, must: int, texts: int, estimates: Sequence[Floats64], most: int, least: int = 0) -> Grant:
    """Weigh drafted nodes for a pass of `must` rows in which `texts` texts get at least one token each.

    `estimates` are P(accepted), parents before children and no child's above its parent's. For every number of rows
    the likeliest nodes of all texts are the best, and they hold their own parents; so one sorting weighs all choices.
    A token is worth the time it takes at the best rate there is in a pass without prompts. At most `most` nodes are
    taken, and `least` even if they do not pay.
    """
    nothing = Grant([np.zeros(len(own), np.bool_) for own in estimates], [0.0] * len(estimates))
    if most < 1 or not any(map(len, estimates)):
        return nothing
    likely = np.concatenate(estimates)
    order = np.argsort(-likely, kind="stable")[:most]
    tokens = np.concatenate([[0.0], np.cumsum(likely[order])])  # [1 + n] expected beyond one per text
    rows = np.arange(len(tokens))
    bare = pace(texts, texts + rows)  # of a pass without prompts
    rate = np.max((texts + tokens) / bare)  # tokens per nanosecond
    whole = bare if must == texts else pace(texts, must + rows)
    cost = whole - whole[0]
    gains = tokens / rate - cost
    n = int(np.argmax(gains))
    if gains[n] <= MIN_GAIN * whole[0]:
        n = 0
    n = max(n, min(least, len(order)))
    if not n:
        return nothing
    granted = np.zeros(len(likely), np.bool_)
    granted[order[:n]] = True
    kept = np.split(granted, np.cumsum([len(own) for own in estimates])[:-1])
    token_ns = float(bare[0]) / texts  # what a token takes without drafts
    row_ns = float(cost[n]) / n
    spared = [
        float(own[held].sum()) * token_ns - held.sum() * row_ns for own, held in zip(estimates, kept, strict=True)
    ]
    return Grant(kept, [float(ns) for ns in spared])
