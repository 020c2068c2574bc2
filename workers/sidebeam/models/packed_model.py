"""A transformers causal LM that scores packed rows of many requests in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from sidebeam.models import cpu_kernels
from sidebeam.models.kv_slots import KVSlots
from sidebeam.models.tree_attention import PassPlan, Segment

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

PLAIN_FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


@dataclass(frozen=True, slots=True)
class Pack:
    """The rows of one pass, and which of their log-probs are wanted.

    `heads` are the rows that go through the LM head, ascending; wanted entry j is token `token[j]` after the
    `row[j]`-th of them.
    """

    tokens: Ints  # [T]
    positions: Ints  # [T]
    segments: list[Segment]
    heads: Ints  # [R]
    row: Ints  # [C]
    token: Ints  # [C] token ids, or indices into the alphabet where the head is cut to it


class PackedModel:
    """Owns the model and its KV slots; not thread-safe.

    `normalise` True: wanted entries are log-softmax over the whole vocabulary. False: bare logits, for a caller that
    renormalises over live children; the head is then cut to `alphabet`'s rows where its weights can be read.
    """

    def __init__(self, model: Any, slots: KVSlots, alphabet: Ints, *, normalise: bool) -> None:
        self.slots = slots
        self.normalise = normalise
        self._decoder = model.get_decoder()
        self._head = model.get_output_embeddings()
        self.device = _input_device(model)
        self.config = model.config
        self._plain = model.config.model_type in PLAIN_FAMILIES and not hasattr(self._decoder, "_hf_hook")
        self._alphabet = torch.from_numpy(alphabet)
        self._cut = None if normalise else _cut_head(self._head, self._alphabet)
        if cpu_kernels.pay(model):
            cpu_kernels.install(model)
            self._head = model.get_output_embeddings()

    @torch.inference_mode()
    def score(self, pack: Pack) -> Floats:
        """One pass. Returns the wanted entries [C], float32, on the host: the pass's only device-to-host copy."""
        tokens = torch.from_numpy(pack.tokens)[None].to(self.device)  # [1, T]
        positions = torch.from_numpy(pack.positions)[None].to(self.device)  # [1, T]
        heads = torch.from_numpy(pack.heads).to(self.device)
        rows = self._hidden(tokens, positions, heads, PassPlan(self.slots, pack.segments))  # [R, hidden]
        if not len(pack.heads):
            return np.zeros(0, np.float32)
        row, token = torch.from_numpy(pack.row), torch.from_numpy(pack.token)
        if self._cut is not None:
            logits = F.linear(rows, *self._cut).float()  # [R, alphabet]
        else:
            logits = self._head(rows).float()  # [R, vocab]
            token = token if self.normalise else self._alphabet[token]
        row, token = row.to(logits.device), token.to(logits.device)
        wanted = logits[row, token]  # [C]
        if self.normalise:
            wanted = wanted - logits.logsumexp(dim=-1)[row]
        result: Floats = wanted.cpu().numpy()
        return result

    def _hidden(self, tokens: Tensor, positions: Tensor, heads: Tensor, plan: PassPlan) -> Tensor:
        """Last hidden states of the head rows. The decoder's own forward spends some tenths of a millisecond on masks
        and caches that are not used here; the families below are known to be embedding, layers and norm, and nothing
        else. Of their last layer, only the head rows go through the MLP: nobody attends to the others' outputs."""
        decoder = self._decoder
        if not self._plain:
            out: Tensor = decoder(
                input_ids=tokens, position_ids=positions, use_cache=False, plan=plan
            ).last_hidden_state
            return out[0, heads.to(out.device)]
        hidden: Tensor = decoder.embed_tokens(tokens)
        rotary = decoder.rotary_emb(hidden, position_ids=positions)
        of_pass = {"attention_mask": None, "position_ids": positions, "position_embeddings": rotary, "plan": plan}
        *layers, last = decoder.layers
        for layer in layers:
            hidden = layer(hidden, use_cache=False, **of_pass)
        attended, _ = last.self_attn(hidden_states=last.input_layernorm(hidden), **of_pass)
        hidden = (hidden + attended)[0, heads]  # [R, hidden]
        hidden = hidden + last.mlp(last.post_attention_layernorm(hidden))
        return decoder.norm(hidden)  # type: ignore[no-any-return]


def _input_device(model: Any) -> torch.device:
    """Where token ids go: the device on which the embedding computes, which offloading may differ from its storage."""
    embedding = model.get_input_embeddings()
    hook = getattr(embedding, "_hf_hook", None)
    device = getattr(hook, "execution_device", None)
    return torch.device(device) if device is not None else embedding.weight.device


def _cut_head(head: torch.nn.Module, alphabet: Tensor) -> tuple[Tensor, Tensor | None] | None:
    weight: Tensor = head.weight  # type: ignore[assignment]
    if weight.is_meta or hasattr(head, "_hf_hook"):  # offloaded: the weights are there only inside its own forward
        return None
    bias: Tensor | None = getattr(head, "bias", None)
    rows = alphabet.to(weight.device)
    return weight.detach()[rows].contiguous(), None if bias is None else bias.detach()[rows].contiguous()
