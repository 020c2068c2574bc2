"""Packed layers are right for every size of pass, though they were packed for one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sidebeam.models import cpu_kernels


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 7, 32, 33, 200])
def test_a_packed_layer_equals_its_own(rows: int, bias: bool) -> None:
    torch.manual_seed(rows)
    layer = nn.Linear(48, 80, bias=bias)
    x = torch.randn(1, rows, 48)
    with torch.inference_mode():
        torch.testing.assert_close(cpu_kernels.PackedLinear(layer.weight, layer.bias)(x), layer(x))


def test_layers_that_share_a_product_keep_their_own_outputs() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(16, size) for size in (24, 8, 8)]
    product = cpu_kernels.SharedProduct(layers)
    with torch.inference_mode():
        for x in (torch.randn(1, 5, 16), torch.randn(1, 2, 16)):
            for part, layer in enumerate(layers):
                torch.testing.assert_close(cpu_kernels.SharedLinear(product, part)(x), layer(x))


def test_a_model_without_linear_layers_keeps_its_own() -> None:
    assert not cpu_kernels.wins_race([])
