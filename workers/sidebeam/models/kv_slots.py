"""KV memory, taken once: every open request owns one slot of every layer."""

from __future__ import annotations

import torch
from torch import Tensor


class KVSlots:
    """`slots` regions of `cells` tokens each. A layer's memory lies on the device where that layer computes."""

    def __init__(self, slots: int, cells: int) -> None:
        self.slots = slots
        self.cells = cells
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}
        self._free = list(range(slots))

    @property
    def n_free(self) -> int:
        """How many requests could be given a slot now."""
        return len(self._free)

    def take(self) -> int | None:
        """A free slot, None if all are taken."""
        return self._free.pop() if self._free else None

    def give_back(self, slot: int) -> None:
        """Return a slot. Raises ValueError if it is not taken."""
        if slot in self._free:
            raise ValueError(f"slot {slot} is free already")
        self._free.append(slot)

    def layer(self, index: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """K and V of a layer, [slots, kv_heads, cells, dim], made on first use to fit `like` [T, h, d]."""
        if index not in self._layers:
            _, kv_heads, dim = like.shape
            shape = (self.slots, kv_heads, self.cells, dim)
            self._layers[index] = (like.new_zeros(shape), like.new_zeros(shape))
        return self._layers[index]

    @torch.inference_mode()
    def move(self, slots: Tensor, source: Tensor, target: Tensor) -> None:
        """Copy cell `source[i]` to `target[i]` of `slots[i]` in all layers, [n] each; all are read first."""
        for k, v in self._layers.values():
            at, there, here = (index.to(k.device) for index in (slots, source, target))
            k[at, :, here] = k[at, :, there]
            v[at, :, here] = v[at, :, there]

    @property
    def nbytes(self) -> int:
        """Bytes held; constant after the first pass."""
        return sum(k.nbytes + v.nbytes for k, v in self._layers.values())

    @property
    def devices(self) -> set[torch.device]:
        """Where the layers' memory lies."""
        return {k.device for k, _ in self._layers.values()}
