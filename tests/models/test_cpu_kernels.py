"""oneDNN's kernels: right for every size of pass, and few sizes in all."""

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


def test_passes_are_rounded_up_to_a_few_sizes_and_by_a_quarter_at_most() -> None:
    sizes = [cpu_kernels.padded(rows) for rows in range(1, 2049)]
    assert all(rows <= size <= rows * 1.25 for rows, size in enumerate(sizes, start=1))
    assert len(set(sizes)) == 40
    assert cpu_kernels.padded(0) == 0


def test_a_model_without_linear_layers_keeps_its_own() -> None:
    assert not cpu_kernels.wins_race([])
