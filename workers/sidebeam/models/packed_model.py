"""A transformers causal LM that scores packed rows of many requests in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from sidebeam.models import cpu_kernels, packed_decoder
from sidebeam.models.kv_slots import KVSlots
from sidebeam.models.tree_attention import PassPlan, Segment

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Decoder = Callable[[Tensor, Tensor, PassPlan, Tensor], Tensor]  # tokens [T], positions [T], heads [R]: [R, hidden]


@dataclass(frozen=True, slots=True)
class Pack:
    """The rows of one pass, and which of their log-probs are wanted.

    `heads` are the rows that go through the LM head, ascending; wanted entry j is token id `token[j]` after the
    `row[j]`-th of them.
    """

    tokens: Ints  # [T]
    positions: Ints  # [T]
    segments: list[Segment]
    heads: Ints  # [R]
    row: Ints  # [C]
    token: Ints  # [C]


class PackedModel:
    """Owns the model and its KV slots; not thread-safe.

    `normalise` True: wanted entries are log-softmax over the whole vocabulary. False: bare logits, for a caller that
    renormalises over live children and wants tokens of `alphabet` only; the head is then cut to their rows where its
    weights can be read.
    """

    def __init__(self, model: Any, slots: KVSlots, alphabet: Ints, *, normalise: bool) -> None:
        self.slots = slots
        self.normalise = normalise
        self.device = _input_device(model)
        self.config = model.config
        self._cut = None if normalise else _cut_head(model.get_output_embeddings(), alphabet)
        self._place = np.zeros(0 if self._cut is None else int(model.config.vocab_size), np.int64)  # in the cut head
        if self._cut is not None:
            self._place[alphabet] = np.arange(len(alphabet))
        self._cut_to = alphabet
        packed_pay = cpu_kernels.pay(model)
        self._decoder: Decoder
        if packed_decoder.supports(model):
            join = cpu_kernels.join if packed_pay else packed_decoder.JoinedLinear
            self._decoder = packed_decoder.PackedDecoder(model.get_decoder(), slots.cells, join)
        else:
            self._decoder = _OwnForward(model.get_decoder())
        if packed_pay:
            cpu_kernels.install(model)
        self._head = model.get_output_embeddings()

    def widen(self, alphabet: Ints) -> None:
        """From now on tokens of this alphabet are wanted, too; to be called between passes.

        A cut head gets their rows. Where its weights cannot be read any more, the whole head is used from here on.
        """
        new = np.setdiff1d(alphabet, self._cut_to)
        if self._cut is None or not len(new):
            return
        more = _cut_head(self._head, new)
        if more is not None:
            (weight, bias), (new_weight, new_bias) = self._cut, more
            joined = None if bias is None or new_bias is None else torch.cat([bias, new_bias])
            self._place[new] = len(self._cut_to) + np.arange(len(new))
            self._cut_to = np.concatenate([self._cut_to, new])
            more = torch.cat([weight, new_weight]), joined
        self._cut = more

    @torch.inference_mode()
    def score(self, pack: Pack) -> Floats:
        """One pass. Returns the wanted entries [C], float32, on the host: the pass's only device-to-host copy."""
        rows = self._hidden(pack)  # [R, hidden]
        if not len(pack.heads):
            return np.zeros(0, np.float32)
        if self._cut is not None:
            logits = F.linear(rows, *self._cut).float()  # [R, alphabet]
            token = torch.from_numpy(self._place[pack.token]).to(logits.device)
        else:
            logits = self._head(rows).float()  # [R, vocab]
            token = torch.from_numpy(pack.token).to(logits.device)
        row = torch.from_numpy(pack.row).to(logits.device)
        wanted = logits[row, token]  # [C]
        if self.normalise:
            wanted = wanted - logits.logsumexp(dim=-1)[row]
        result: Floats = wanted.cpu().numpy()
        return result

    @torch.inference_mode()
    def logits(self, pack: Pack) -> Tensor:
        """One pass. Returns the heads' logits over the whole vocabulary, [R, vocab] float32, where the head computes.

        `row` and `token` of the pack are not read; nothing is copied to the host.
        """
        rows = self._hidden(pack)  # [R, hidden]
        if not len(pack.heads):
            return rows.new_zeros((0, self.config.vocab_size), dtype=torch.float32)
        logits: Tensor = self._head(rows).float()
        return logits

    def _hidden(self, pack: Pack) -> Tensor:
        tokens, positions, heads = (
            torch.from_numpy(ints).to(self.device) for ints in (pack.tokens, pack.positions, pack.heads)
        )
        return self._decoder(tokens, positions, PassPlan(self.slots, pack.segments), heads)  # [R, hidden]


class _OwnForward:
    """A transformers decoder's own forward, as a PackedDecoder is called."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder

    def __call__(self, tokens: Tensor, positions: Tensor, plan: PassPlan, heads: Tensor) -> Tensor:
        out: Tensor = self._decoder(
            input_ids=tokens[None], position_ids=positions[None], use_cache=False, plan=plan
        ).last_hidden_state  # [1, T, hidden]
        return out[0, heads.to(out.device)]


def _input_device(model: Any) -> torch.device:
    """Where token ids go: the device on which the embedding computes, which offloading may differ from its storage."""
    embedding = model.get_input_embeddings()
    hook = getattr(embedding, "_hf_hook", None)
    device = getattr(hook, "execution_device", None)
    return torch.device(device) if device is not None else embedding.weight.device


def _cut_head(head: torch.nn.Module, alphabet: Ints) -> tuple[Tensor, Tensor | None] | None:
    weight: Tensor | None = getattr(head, "weight", None)
    if weight is None or weight.is_meta or hasattr(head, "_hf_hook"):  # repacked, or offloaded between its forwards
        return None
    bias: Tensor | None = getattr(head, "bias", None)
    rows = torch.from_numpy(alphabet).to(weight.device)
    return weight.detach()[rows].contiguous(), None if bias is None else bias.detach()[rows].contiguous()
