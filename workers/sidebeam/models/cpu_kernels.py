"""Faster linear layers for small passes on a CPU.

Before a product of some tens of rows, a BLAS spends about as long laying the weights out for its kernels as it then
spends on the product. Here they are laid out once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sidebeam.models.packed_decoder import Product, joined

RACE_ROWS, RACE_ROUNDS = (1, 8, 32), 15


class PackedLinear(nn.Module):
    """y = x W^T + b with W in MKL's own layout; float32 on the CPU, for inference only."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self._packed = torch.ops.mkl._mkl_reorder_linear_weight(weight.detach().contiguous(), RACE_ROWS[-1])
        self._shape = weight.new_zeros(1, 1).expand(weight.shape)  # only its shape is read
        self._bias = None if bias is None else bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        rows = x.numel() // x.shape[-1]  # the layout fits any number of them; torch wants to be told which
        y: Tensor = torch.ops.mkl._mkl_linear.default(x, self._packed, self._shape, self._bias, rows)
        return y


def pay(model: Any) -> bool:
    """Whether `model` is faster with them here: float32, all on the CPU, no offloading hooks, and the race won."""
    parameters = list(model.parameters())
    return (
        hasattr(torch.ops.mkl, "_mkl_linear")
        and all(p.device.type == "cpu" and p.dtype == torch.float32 for p in parameters)
        and not any(hasattr(module, "_hf_hook") for module in model.modules())
        and wins_race([module for module in model.get_decoder().modules() if type(module) is nn.Linear])
    )


@torch.inference_mode()
def wins_race(linears: list[nn.Linear]) -> bool:
    """Whether the packed product agrees with torch's own and beats it, for the largest of the layers."""
    if not linears:
        return False
    largest = max(linears, key=lambda linear: linear.weight.numel())
    packed = PackedLinear(largest.weight, largest.bias)
    inputs = [torch.linspace(-1, 1, rows * largest.in_features).view(rows, -1) for rows in RACE_ROWS]
    agree = all(torch.allclose(packed(x), largest(x), rtol=1e-4, atol=1e-4) for x in inputs)
    return agree and _best_time(packed, inputs) < _best_time(largest, inputs)


def _best_time(layer: Callable[[Tensor], Tensor], inputs: list[Tensor]) -> int:
    times = []
    for _ in range(RACE_ROUNDS):
        start = time.perf_counter_ns()
        for x in inputs:
            layer(x)
        times.append(time.perf_counter_ns() - start)
    return min(times)


def install(model: Any) -> None:
    """Replace the linear layers below `model`; everything else stays as it is."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, PackedLinear(child.weight, child.bias))


def join(layers: Sequence[nn.Linear]) -> Product:
    """Several linear layers over the same input as one packed product."""
    return PackedLinear(*joined(layers)).forward  # as a module it would look for hooks at every call
