"""Packed layers are right for every size of pass, though they were packed for one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sidebeam.models import cpu_kernels, packed_decoder


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 7, 32, 33, 200])
def test_a_packed_layer_equals_its_own(rows: int, bias: bool) -> None:
    torch.manual_seed(rows)
    layer = nn.Linear(48, 80, bias=bias)
    x = torch.randn(1, rows, 48)
    with torch.inference_mode():
        torch.testing.assert_close(cpu_kernels.PackedLinear(layer.weight, layer.bias)(x), layer(x))


def test_joined_layers_are_one_product_in_their_order() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(16, size, bias=bias) for size, bias in ((24, True), (8, False), (8, True))]
    x = torch.randn(5, 16)
    with torch.inference_mode():
        wanted = torch.cat([layer(x) for layer in layers], dim=-1)
        torch.testing.assert_close(cpu_kernels.join(layers)(x), wanted)
        torch.testing.assert_close(packed_decoder.JoinedLinear(layers)(x), wanted)


def test_a_model_without_linear_layers_keeps_its_own() -> None:
    assert not cpu_kernels.wins_race([])
