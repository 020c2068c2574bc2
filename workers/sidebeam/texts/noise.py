"""Gumbel noise that is a function of seed, position and token alone, so that drafts cannot bend what is drawn.

The argmax of `logit / temperature + noise` is a draw with probabilities proportional to exp(logit / temperature) (the
Gumbel-max trick). The tokens before a position depend on the noise of earlier positions only, so each draw is
independent of its own noise: the text has the target's distribution. And it is settled before anything is drafted:
verification stays a comparison with one token, siblings need no turns, and no residual is ever drawn from.
"""

from __future__ import annotations

import torch
from torch import Tensor

STEP = 0x9E3779B97F4A7C15 - 2**64  # as signed words: torch has no others
MIX = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))  # SplitMix64
LAST, MANTISSA = 31, 11
LARGEST = 1 - 2.0**-24  # below 1 in float32


def gumbel(seeds: Tensor, positions: Tensor, vocab_size: int) -> Tensor:
    """Standard Gumbel noise of n seeds and positions, int64 [n] each: [n, vocab] float32.

    It is the same whenever and wherever it is asked for. High noise is what decides, and comes from uniforms near 0,
    where float32 is fine: none of its upper tail is cut.
    """
    origins = _mixed(_mixed(seeds) + positions * STEP)  # [n]
    words = _mixed(origins[:, None] + torch.arange(vocab_size, device=seeds.device) * STEP)  # [n, vocab]
    uniform = ((_shifted(words, MANTISSA).float() + 0.5) * 2.0 ** (MANTISSA - 64)).clamp_(max=LARGEST)  # in (0, 1)
    exponential = uniform.neg_().log1p_().neg_()
    noise: Tensor = exponential.log_().neg_()
    return noise


def _mixed(words: Tensor) -> Tensor:
    """Every bit of the output depends on every bit of the input; words wrap around."""
    words = words + STEP
    for shift, factor in MIX:
        words = (words ^ _shifted(words, shift)) * factor
    return words ^ _shifted(words, LAST)


def _shifted(words: Tensor, shift: int) -> Tensor:
    """To the right, without the copies of the sign that a signed word brings in."""
    shifted: Tensor = (words >> shift) & (2 ** (64 - shift) - 1)
    return shifted
