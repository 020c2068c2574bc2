"""Other modules for small passes on a CPU, put in place of a model's own; the modelling code stays as it is.

A pass of some tens of rows spends its time reading weights and launching small kernels. Weights laid out once for
oneDNN, one product instead of three for q, k and v, and a norm in one call: on processors for which torch's own BLAS
is not tuned, passes are up to 1.5 times as fast with them; on others slower. So the two are raced before the choice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))  # siblings that are fed the same tensor
PLAIN_NORMS = ("LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm")  # x / rms(x) * weight, nothing else
TYPICAL_ROWS = 32  # oneDNN lays the weights out for products of about this many rows; others are right, too
RACE_ROWS, RACE_ROUNDS = (8, TYPICAL_ROWS), 15
MIN_LEAD = 1.25  # won by less, the race says little about passes, whose weights are read from farther away


class PackedLinear(nn.Module):
    """y = x W^T + b with W in oneDNN's own layout; float32 on the CPU, for inference only."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), TYPICAL_ROWS)
        self._bias = None if bias is None else bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self._bias, "none", [], "")
        return y


class SharedProduct:
    """One product for several linear layers that are fed the same tensor one after another."""

    def __init__(self, layers: list[nn.Linear]) -> None:
        weights: list[Tensor] = [layer.weight for layer in layers]
        biases = [layer.bias for layer in layers]
        none = all(bias is None for bias in biases)
        filled: list[Tensor] = [
            b if b is not None else n.weight.new_zeros(n.out_features) for b, n in zip(biases, layers, strict=True)
        ]
        self._linear = PackedLinear(torch.cat(weights), None if none else torch.cat(filled))
        self._sizes = [layer.out_features for layer in layers]
        self._input: Tensor | None = None
        self._outputs: tuple[Tensor, ...] = ()

    def output(self, part: int, x: Tensor) -> Tensor:
        """What layer `part` makes of x; computed for all of them when the first one asks."""
        if x is not self._input:
            self._input, self._outputs = x, self._linear(x).split(self._sizes, dim=-1)
        result = self._outputs[part]
        if part == len(self._sizes) - 1:  # nobody asks for this tensor again: do not keep it
            self._input, self._outputs = None, ()
        return result


class SharedLinear(nn.Module):
    """One of the layers that share a product."""

    def __init__(self, product: SharedProduct, part: int) -> None:
        super().__init__()
        self._product = product
        self._part = part

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        return self._product.output(self._part, x)


class FusedNorm(nn.Module):
    """RMSNorm in one call."""

    def __init__(self, weight: Tensor, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach(), requires_grad=False)
        self._epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return F.rms_norm(x, self.weight.shape, self.weight, self._epsilon)


def pay(model: Any) -> bool:
    """Whether `model` is faster with them here: float32, all on the CPU, no offloading hooks, and the race won."""
    parameters = list(model.parameters())
    return (
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        and all(p.device.type == "cpu" and p.dtype == torch.float32 for p in parameters)
        and not any(hasattr(module, "_hf_hook") for module in model.modules())
        and wins_race([module for module in model.get_decoder().modules() if type(module) is nn.Linear])
    )


def padded(rows: int) -> int:
    """The pass size that `rows` are rounded up to: oneDNN compiles, and keeps, a kernel for every size it meets.

    Four sizes per power of two.
    """
    step = 1 << max(0, (rows - 1).bit_length() - 3)
    return -(-rows // step) * step


@torch.inference_mode()
def wins_race(linears: list[nn.Linear]) -> bool:
    """Whether oneDNN's product beats torch's own by MIN_LEAD, for the largest of the layers."""
    if not linears:
        return False
    largest = max(linears, key=lambda linear: linear.weight.numel())
    packed = PackedLinear(largest.weight, largest.bias)
    inputs = [torch.ones(1, rows, largest.in_features) for rows in RACE_ROWS]
    return _best_time(largest, inputs) > MIN_LEAD * _best_time(packed, inputs)


def _best_time(layer: Callable[[Tensor], Tensor], inputs: list[Tensor]) -> int:
    times = []
    for _ in range(RACE_ROUNDS):
        start = time.perf_counter_ns()
        for x in inputs:
            layer(x)
        times.append(time.perf_counter_ns() - start)
    return min(times)


def install(model: Any) -> None:
    """Replace linear layers and norms below `model`; what is not known stays as it is."""
    for parent in list(model.modules()):
        children = dict(parent.named_children())
        for names in GROUPS:
            layers = [children.get(name) for name in names]
            if all(type(layer) is nn.Linear for layer in layers):
                product = SharedProduct(layers)  # type: ignore[arg-type]
                for part, name in enumerate(names):
                    setattr(parent, name, SharedLinear(product, part))
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                setattr(parent, name, PackedLinear(child.weight, child.bias))
            elif type(child).__name__ in PLAIN_NORMS:
                setattr(parent, name, FusedNorm(child.weight, float(child.variance_epsilon)))
