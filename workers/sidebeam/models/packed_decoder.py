"""The decoder of Llama, Mistral, Qwen2 and Qwen3 over packed rows, in as few operations as it takes.

A pass of some tens of rows is short: on a small model, what surrounds the products (module calls, masks, caches, norms
and rotations in many small steps) takes longer than they do. These families share one shape, so their weights are
taken over and the pass is written out here; every other model keeps its own forward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidebeam.models.tree_attention import PassPlan, attend

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
CHANGING_ROPES = ("dynamic", "longrope")  # their angles depend on the longest position of a pass

Product = Callable[[Tensor], Tensor]  # [T, in] to [T, out]
Join = Callable[[Sequence[nn.Linear]], Product]  # several layers over the same input as one product


class PackedDecoder:
    """Embedding, layers and norm of a supported model; `join` makes the products. Positions are below `longest`.

    The model is used up: it gives its linear layers up one by one, so that memory never holds all weights twice.
    """

    def __init__(self, decoder: Any, longest: int, join: Join) -> None:
        self._embed = decoder.embed_tokens
        self._rotary = Rotary(decoder.rotary_emb, longest)
        self._layers = [PackedLayer(layer, join) for layer in decoder.layers]
        self._norm = RMSNorm(decoder.norm)

    def __call__(self, tokens: Tensor, positions: Tensor, plan: PassPlan, heads: Tensor) -> Tensor:
        """Last hidden states [R, hidden] of the rows `heads` [R] of `tokens` and `positions` [T].

        Of the last layer, only these rows go on after the attention: nobody attends to what becomes of the others.
        """
        x: Tensor = self._embed(tokens)  # [T, hidden]
        cos, sin = self._rotary(x, positions)
        *layers, last = self._layers
        for layer in layers:
            x = layer(x, cos, sin, plan)
        return self._norm(last(x, cos, sin, plan, keep=heads))


class PackedLayer:
    """One layer: x += attention(norm(x)), then x += MLP(norm(x))."""

    def __init__(self, layer: Any, join: Join) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._index = int(attention.layer_idx)
        self._scale = float(attention.scaling)
        self._window: int | None = _window(attention)
        self._dim = int(attention.head_dim)
        self._heads = attention.q_proj.out_features // self._dim
        self._kv_heads = attention.k_proj.out_features // self._dim
        self._qk_norm = tuple(RMSNorm(getattr(attention, n)) for n in ("q_norm", "k_norm") if hasattr(attention, n))
        self._before_attention = RMSNorm(layer.input_layernorm)
        self._before_mlp = RMSNorm(layer.post_attention_layernorm)
        self._act: Callable[[Tensor], Tensor] = mlp.act_fn
        self._qkv = join(_taken(attention, "q_proj", "k_proj", "v_proj"))
        self._out = join(_taken(attention, "o_proj"))
        self._gate_up = join(_taken(mlp, "gate_proj", "up_proj"))
        self._down = join(_taken(mlp, "down_proj"))

    def __call__(self, x: Tensor, cos: Tensor, sin: Tensor, plan: PassPlan, keep: Tensor | None = None) -> Tensor:
        """[T, hidden] to [T, hidden], or to the rows `keep` alone; all rows write their K/V."""
        attended = self._attend(self._before_attention(x), cos, sin, plan)  # [T, heads * dim]
        if keep is not None:
            x, attended = x[keep], attended[keep]
        x = x + self._out(attended)
        gate, up = self._gate_up(self._before_mlp(x)).chunk(2, dim=-1)
        return x + self._down(self._act(gate) * up)

    def _attend(self, x: Tensor, cos: Tensor, sin: Tensor, plan: PassPlan) -> Tensor:
        qkv = self._qkv(x).view(len(x), -1, self._dim)  # [T, heads + 2 kv_heads, dim]
        rotated, heads = self._heads + self._kv_heads, self._heads
        qk, value = qkv[:, :rotated], qkv[:, rotated:]
        if self._qk_norm:
            q_norm, k_norm = self._qk_norm
            qk = torch.cat([q_norm(qk[:, :heads]), k_norm(qk[:, heads:])], dim=1)
        qk = torch.addcmul(qk * cos, qk.roll(self._dim // 2, -1), sin)
        query, key = qk[:, :heads], qk[:, heads:]
        return attend(plan, self._index, query, key, value, self._scale, self._window)


class Rotary:
    """Cosines and sines by position, [T, 1, dim] each. The first half of the sines is negated, so that
    x * cos + roll(x, dim / 2) * sin rotates x."""

    def __init__(self, module: Any, longest: int) -> None:
        self._module = module
        self._table: tuple[Tensor, Tensor] | None = None
        self._changing = module.rope_type in CHANGING_ROPES
        self._longest = longest

    def __call__(self, like: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """For `positions` [T], in the type and on the device of `like`."""
        if self._changing:
            return self._of(like, positions)
        if self._table is None:
            self._table = self._of(like, torch.arange(self._longest, device=positions.device))
        cos, sin = self._table
        return cos[positions], sin[positions]

    def _of(self, like: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = self._module(like, position_ids=positions[None])  # [1, T, dim]
        first, second = sin[0].chunk(2, dim=-1)
        return cos[0, :, None], torch.cat([-first, second], dim=-1)[:, None]


class RMSNorm:
    """A model's RMS norm as one operation."""

    def __init__(self, norm: Any) -> None:
        self._weight: Tensor = norm.weight.detach()
        self._eps = float(norm.variance_epsilon)

    def __call__(self, x: Tensor) -> Tensor:
        """[..., size] to [..., size]."""
        return F.rms_norm(x, self._weight.shape, self._weight, self._eps)


class JoinedLinear:
    """Several linear layers over the same input as one product."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        self.weight, self.bias = joined(layers)

    def __call__(self, x: Tensor) -> Tensor:
        """[T, in] to [T, out]."""
        return F.linear(x, self.weight, self.bias)


def joined(layers: Sequence[nn.Linear]) -> tuple[Tensor, Tensor | None]:
    """The layers' weights one below the other, and their biases; zeros for those that have none if others do."""
    weight = layers[0].weight.detach() if len(layers) == 1 else torch.cat([layer.weight.detach() for layer in layers])
    if all(layer.bias is None for layer in layers):
        return weight, None
    zeros = [weight.new_zeros(layer.out_features) for layer in layers]
    return weight, torch.cat([z if n.bias is None else n.bias.detach() for n, z in zip(layers, zeros, strict=True)])


def supports(model: Any) -> bool:
    """Whether `model` is of a family known here, rotates whole heads and carries no offloading hooks."""
    if model.config.model_type not in FAMILIES or any(hasattr(module, "_hf_hook") for module in model.modules()):
        return False
    decoder = model.get_decoder()
    return bool(2 * decoder.rotary_emb.inv_freq.numel() == decoder.layers[0].self_attn.head_dim)


def _taken(parent: nn.Module, *names: str) -> list[nn.Linear]:
    layers = [getattr(parent, name) for name in names]
    for name in names:
        delattr(parent, name)
    return layers


def _window(attention: Any) -> int | None:
    """Mistral keeps it in the config, Qwen by layer; Llama has none, whatever a config says."""
    if attention.config.model_type == "mistral":
        return getattr(attention.config, "sliding_window", None)
    return getattr(attention, "sliding_window", None)
