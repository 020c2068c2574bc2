"""The baseline that users have today: transformers `generate`, beams and a prefix function over the catalog."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForCausalLM

from sidebeam.catalog import ROOT, Catalog

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class GenerateBaseline:
    """Beam search by `generate` on an unmodified model; allowed tokens come from a dictionary, as fast as it gets."""

    def __init__(self, model: Any, catalog: Catalog) -> None:
        self.model = model
        self._catalog = catalog
        self._allowed: dict[tuple[int, ...], list[int]] = {}

    @classmethod
    def load(cls, path: Path, catalog: Catalog, device: str = "cpu", dtype: str = "float32") -> GenerateBaseline:
        """Load the target's folder with the library's own attention."""
        model = AutoModelForCausalLM.from_pretrained(
            path,
            attn_implementation="sdpa",
            dtype=getattr(torch, dtype),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
        model.generation_config.max_length = None  # the length is set by max_new_tokens alone
        return cls(model.eval().to(device), catalog)

    @torch.inference_mode()
    def __call__(self, prompt: Ints, k: int) -> tuple[list[int], Floats]:
        """Leaves, best first, and their log-probs."""
        ids = torch.from_numpy(prompt)[None].to(self.model.device)
        out = self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            num_beams=k,
            num_return_sequences=k,
            max_new_tokens=self._catalog.depth,
            do_sample=False,
            prefix_allowed_tokens_fn=self._prefix_function(len(prompt)),
            return_dict_in_generate=True,
            output_logits=k == 1,
            output_scores=k > 1,
            pad_token_id=0,
        )
        sids = out.sequences[:, len(prompt) :].cpu().numpy()
        leaves = self._leaves(sids)
        if k > 1:  # generate divides by the length
            return leaves, (out.sequences_scores.cpu().numpy() * self._catalog.depth).astype(np.float32)
        steps = torch.stack(out.logits)[:, 0].float().log_softmax(-1).cpu().numpy()  # [L, vocab]
        return leaves, np.array([steps[np.arange(len(sids[0])), sids[0]].sum()], np.float32)

    def _prefix_function(self, prompt_length: int) -> Callable[[int, torch.Tensor], list[int]]:
        def allowed(_: int, sequence: torch.Tensor) -> list[int]:
            prefix = tuple(sequence[prompt_length:].tolist())
            if prefix not in self._allowed:
                self._allowed[prefix] = self._children(prefix)
            return self._allowed[prefix]

        return allowed

    def _children(self, prefix: tuple[int, ...]) -> list[int]:
        node = np.array([ROOT])
        for token in prefix:
            node = self._catalog.trie.child(node, np.array([token]))
        first, end = self._catalog.trie.children(node)
        tokens: list[int] = self._catalog.trie.tokens(np.arange(first[0], end[0])).tolist()
        return tokens

    def _leaves(self, sids: Ints) -> list[int]:
        nodes = np.full(len(sids), ROOT)
        for column in sids.T:
            nodes = self._catalog.trie.child(nodes, column)
        leaves: list[int] = self._catalog.node_leaf(nodes).tolist()
        return leaves
