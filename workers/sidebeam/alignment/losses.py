"""What alignment minimises: one value a depth, from the student's log-probs of the children of the teacher's beams.

Those of one depth are `log_q` [B, K, C], `FAR` in padding. A token-level loss is a mean over positions: every beam that
the teacher's final beams go through, as often as they do (AtSpeed, section 2.4). The others look at whole beams: the
cumulative scores of all candidates of a depth, as beam search compares them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sidebeam.alignment.beam_tree import Level
from sidebeam.alignment.forward import FAR, within


@dataclass(frozen=True, slots=True)
class Knobs:
    """`top_k`: the teacher's K. `beams`: the N that the student will draft. `tau` divides log-probs, never probs."""

    top_k: int
    beams: int
    beta: float
    tau: float


def sequence_kd(levels: Sequence[Level], log_q: Sequence[Tensor], knobs: Knobs) -> list[Tensor]:
    """SeqKD: cross-entropy on the teacher's final beams, the first token included."""
    losses = []
    for level, log in zip(levels, log_q, strict=True):
        chosen = log.flatten(1).gather(1, level.kept)  # [B, k]
        losses.append(-(chosen * level.paths).sum() / level.paths.sum())
    return losses


def reverse_kl(levels: Sequence[Level], log_q: Sequence[Tensor], knobs: Knobs) -> list[Tensor]:
    """AtSpeed-S: KL(q || p) within the student's best K children, + beta * density.

    Density: the entropy of q there, weighted by the target's share of the last of them. Where fewer than K children
    live, none of them can be missed, and it is 0.
    """
    losses = []
    for level, log in zip(levels, log_q, strict=True):
        best = log.detach().topk(min(knobs.top_k, log.shape[-1]), dim=-1).indices  # [B, K, S]
        live = level.live.gather(-1, best)
        q = within(log.gather(-1, best) / knobs.tau, live)
        p = within(level.edge.gather(-1, best) / knobs.tau, live)
        share = q.exp()
        divergence = (share * (q - p)).sum(dim=-1)  # [B, K]
        entropy = -(share * q).sum(dim=-1)
        last = (p[..., -1].exp() * live[..., -1]) if best.shape[-1] == knobs.top_k else torch.zeros_like(entropy)
        losses.append(_over_positions(divergence + knobs.beta * last * entropy, level))
    return losses


def total_variation(levels: Sequence[Level], log_q: Sequence[Tensor], knobs: Knobs) -> list[Tensor]:
    """AtSpeed-R: half the L1 distance of q and p over live children."""
    losses = []
    for level, log in zip(levels, log_q, strict=True):
        q, p = (within(values / knobs.tau, level.live).exp() for values in (log, level.edge))
        losses.append(_over_positions(0.5 * (q - p).abs().sum(dim=-1), level))
    return losses


def joint_kl(levels: Sequence[Level], log_q: Sequence[Tensor], knobs: Knobs) -> list[Tensor]:
    """KL(P || Q), both softmax(cumulative score / tau) over all candidates of a depth."""
    losses = []
    for level, total in zip(levels, totals(levels, log_q), strict=True):
        live = level.live.flatten(1)
        p = within((level.start[..., None] + level.edge).flatten(1) / knobs.tau, live)
        q = within(total / knobs.tau, live)
        losses.append((p.exp() * (p - q)).sum(dim=-1).mean())
    return losses


def joint_top_k(levels: Sequence[Level], log_q: Sequence[Tensor], knobs: Knobs) -> list[Tensor]:
    """Cross-entropy of Q = softmax(cumulative score / tau) with the target's K beams, which all count the same."""
    losses = []
    for level, total in zip(levels, totals(levels, log_q), strict=True):
        q = within(total / knobs.tau, level.live.flatten(1)).gather(1, level.kept)  # [B, k]
        losses.append(-(q * level.is_kept).sum() / level.is_kept.sum())
    return losses


def top_n(levels: Sequence[Level], log_q: Sequence[Tensor], knobs: Knobs) -> list[Tensor]:
    """Acceptance itself, made smooth, for K beams and for half as many, and so on: requests ask for all kinds of K.

    Without the smaller ones, beams far down the ranking, of which most cannot be had, outweigh the few that all
    requests need.
    """
    losses = []
    for level, total in zip(levels, totals(levels, log_q), strict=True):
        missed = [_missed(total, level.kept[:, :k], level.is_kept[:, :k], knobs) for k in _halves(level.kept.shape[1])]
        losses.append(torch.stack(missed).mean())
    return losses


def _halves(k: int) -> Iterator[int]:
    """20, 10, 5, 2, 1 of 20."""
    while k:
        yield k
        k //= 2


def _missed(total: Tensor, kept: Tensor, is_kept: Tensor, knobs: Knobs) -> Tensor:
    """softplus((threshold - score) / tau), mean over the target's best beams, at `kept` [B, k] of `total` [B, K * C].

    All k are among the student's N best exactly if each scores more than the (N - k + 1)-th best of the other
    candidates, the threshold. A depth without so many others cannot be rejected, and costs nothing.
    """
    spare = knobs.beams - is_kept.sum(dim=1)  # [B] others that may stand before the last of the k
    dropped = torch.where(is_kept, kept, total.shape[1])  # padding: one past the candidates
    others = F.pad(total, (0, 1), value=FAR).scatter(1, dropped, FAR)
    ranked = others.topk(min(int(spare.max()) + 1, others.shape[1]), dim=1).values
    exists = spare < ranked.shape[1]
    threshold = ranked.gather(1, spare.clamp(max=ranked.shape[1] - 1)[:, None])  # [B, 1]
    counts = is_kept & exists[:, None] & (threshold > FAR / 2)
    gap = (threshold - total.gather(1, kept)) / knobs.tau
    return (F.softplus(gap) * counts).sum() / is_kept.sum()


def _over_positions(values: Tensor, level: Level) -> Tensor:
    """Mean over the positions of the teacher's final beams.  # of [B, K]"""
    return (values * level.through).sum() / level.through.sum()


def totals(levels: Sequence[Level], log_q: Sequence[Tensor]) -> Iterator[Tensor]:
    """Cumulative scores of all candidates, depth by depth; `FAR` in padding.  # [B, K * C]"""
    start = log_q[0].new_zeros(len(log_q[0]), 1)  # [B, K]
    for level, log in zip(levels, log_q, strict=True):
        total = (start[..., None] + log).masked_fill(~level.live, FAR).flatten(1)
        yield total
        start = total.gather(1, level.kept)
