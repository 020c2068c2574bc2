"""Ragged tree attention: one packed input, many requests, each attending to its own KV slot by its own mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from sidebeam.models.kv_slots import KVSlots

ATTENTION = "sidebeam_tree"


@dataclass(frozen=True, slots=True)
class Segment:
    """The rows of one request in a pack, and what they may see.

    Row i of the segment is row `start + i` of the pack and writes its K/V to cell `cell + i` of `slot`. `mask` is
    additive, [rows, cells]: 0 where row i may attend to a cell, -inf where not; None: causal over cells 0..rows-1.
    `position` gives the cells' positions, for sliding windows.
    """

    slot: int
    start: int
    rows: int
    cell: int
    mask: Tensor | None
    position: Tensor

    @property
    def cells(self) -> int:
        """Cells in use once this segment has been written."""
        return self.cell + self.rows


@dataclass(slots=True)
class PassPlan:
    """What the attention of every layer needs to know about one pass."""

    slots: KVSlots
    segments: list[Segment]
    _masks: dict[tuple[int, torch.device, torch.dtype, int, int | None], Tensor | None] = field(default_factory=dict)

    def mask(self, index: int, like: Tensor, group: int, window: int | None) -> Tensor | None:
        """Segment `index`'s mask on the layer's device, its rows repeated for `group` query heads per KV head."""
        key = (index, like.device, like.dtype, group, window)
        if key not in self._masks:
            self._masks[key] = _mask_for(self.segments[index], like, group, window)
        return self._masks[key]


def _mask_for(segment: Segment, like: Tensor, group: int, window: int | None) -> Tensor | None:
    reach = int(segment.position.max()) + 1
    mask = segment.mask
    if window is not None and reach <= window:
        window = None
    if mask is None and (window is not None or group > 1):
        mask = torch.full((segment.rows, segment.cells), -torch.inf).triu_(1)
    if mask is None:
        return None
    if window is not None:
        queries = segment.position[segment.cell :]
        far = queries[:, None] - segment.position[None, :] >= window  # [rows, cells]
        mask = mask.masked_fill(far, -torch.inf)
    return mask.to(like.device, like.dtype).repeat(group, 1)  # [group * rows, cells]


def attend(
    plan: PassPlan,
    layer: int,
    query: Tensor,  # [T, heads, dim]
    key: Tensor,  # [T, kv_heads, dim]
    value: Tensor,  # [T, kv_heads, dim]
    scale: float | None,
    window: int | None,
) -> Tensor:
    """Write the pack's K/V into the slots of `layer`, then attend per request. Returns [T, heads * dim].

    Query heads that share a KV head become extra rows of it, so grouped-query attention copies no K/V.
    """
    keys, values = plan.slots.layer(layer, key)
    _, kv_heads, dim = key.shape
    group = query.shape[1] // kv_heads
    outputs = []
    for i, segment in enumerate(plan.segments):
        rows = slice(segment.start, segment.start + segment.rows)
        k, v = keys[segment.slot], values[segment.slot]  # [kv_heads, cells, dim]
        k[:, segment.cell : segment.cells] = key[rows].transpose(0, 1)
        v[:, segment.cell : segment.cells] = value[rows].transpose(0, 1)
        q = query[rows].view(-1, kv_heads, group, dim).permute(1, 2, 0, 3).flatten(1, 2)
        mask = plan.mask(i, query, group, window)
        attended = F.scaled_dot_product_attention(
            q[None],  # [1, kv_heads, group * rows, dim]
            k[None, :, : segment.cells],
            v[None, :, : segment.cells],
            attn_mask=mask,
            is_causal=mask is None,
            scale=scale,
        )
        outputs.append(attended.view(kv_heads, group, segment.rows, dim).permute(2, 0, 1, 3).flatten(1))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def tree_attention(
    module: torch.nn.Module,
    query: Tensor,  # [1, heads, T, dim]
    key: Tensor,  # [1, kv_heads, T, dim]
    value: Tensor,  # [1, kv_heads, T, dim]
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    *,
    plan: PassPlan,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """`attend` in the form that the attention modules of transformers call. Returns [1, T, heads, dim]."""
    q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))
    attended = attend(plan, int(module.layer_idx), q, k, v, scaling, sliding_window)  # type: ignore[arg-type]
    return attended.view(1, *q.shape), None


def _no_mask(*_: Any, **__: Any) -> None:
    """The plan holds the masks; transformers need not build any."""


def register() -> None:
    """Make `ATTENTION` known to transformers; calling it again changes nothing."""
    known: Mapping[str, Any] = AttentionInterface._global_mapping
    if ATTENTION not in known:
        AttentionInterface.register(ATTENTION, tree_attention)
        AttentionMaskInterface.register(ATTENTION, _no_mask)
