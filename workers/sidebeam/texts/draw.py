"""The tokens that sampled texts draw, for all rows of a pass at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sidebeam.texts.noise import gumbel
from sidebeam.texts.request import Sampled

BLOCK = 2**22  # logits whose noise is held at once: a hash takes eight bytes for each


def drawn(logits: Tensor, rules: Sequence[Sampled], positions: Sequence[int]) -> Tensor:
    """One token for each row of `logits` [n, vocab], at `positions` of texts that follow `rules`, [n] each."""
    block = max(1, BLOCK // logits.shape[1])
    parts = [
        _drawn(logits[at : at + block], rules[at : at + block], positions[at : at + block])
        for at in range(0, len(rules), block)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _drawn(logits: Tensor, rules: Sequence[Sampled], positions: Sequence[int]) -> Tensor:
    where, size = logits.device, logits.shape[1]
    draws = np.array([(rule.seed, position) for rule, position in zip(rules, positions, strict=True)], np.int64)
    distinct, place = np.unique(draws, axis=0, return_inverse=True)  # cousins stand at one position and share its noise
    seeds, at, rows = (torch.from_numpy(ints).to(where) for ints in (*distinct.T.copy(), place.ravel()))
    temperatures = torch.tensor([rule.temperature for rule in rules], dtype=torch.float64, device=where)[:, None]
    # Below the peak a tiny temperature leads to -inf, never to inf; at the peak to 0, never to 0 / 0.
    keys = ((logits - logits.amax(dim=-1, keepdim=True)) / temperatures).float() + gumbel(seeds, at, size)[rows]
    cuts = [rule.top_k if 0 < rule.top_k < size else size for rule in rules]
    if min(cuts) < size:
        most = max(cut for cut in cuts if cut < size)
        top = logits.topk(most, dim=-1).values  # [n, most]
        last = torch.tensor([min(cut, most) - 1 for cut in cuts], device=where)[:, None]
        uncut = torch.tensor([cut == size for cut in cuts], device=where)[:, None]
        keys.masked_fill_((logits < top.gather(1, last)) & ~uncut, -torch.inf)
    return keys.argmax(dim=-1)
