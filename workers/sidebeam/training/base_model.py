"""A model that others trained, made ready for a catalog's SID tokens."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedConfig, PreTrainedModel

from sidebeam.models.tree_attention import ATTENTION, register
from sidebeam.training.base_vocabulary import BaseVocabulary
from sidebeam.training.error import TrainingError, first_line

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
NOISE = 0.1  # of new rows, in standard deviations of the old ones: enough to tell them apart
SHOWN = 3  # names that an error repeats


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A folder with a causal LM that Sidebeam can serve. Nothing in it is changed."""

    folder: Path
    config: PreTrainedConfig

    @classmethod
    def open(cls, folder: Path) -> BaseModel:
        """Looks at everything but the weights. Raises `TrainingError` saying what is wrong with the folder."""
        if not folder.is_dir():
            raise TrainingError(f"--base {folder}: no such folder")
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise TrainingError(f"--base {folder}: holds no model: {first_line(error)}") from None
        base = cls(folder, config)
        base._check()
        return base

    @property
    def positions(self) -> int:
        """The longest text that the model takes, in tokens."""
        return int(self.config.max_position_embeddings)

    @property
    def fingerprint(self) -> str:
        """Tells apart models with other weights, configuration or tokenizer."""
        digest = hashlib.sha256()
        weights = sorted(self.folder.glob("*.safetensors"))
        for path in [self.folder / "config.json", self.folder / "tokenizer.json", *weights]:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:12]

    def load(self, vocabulary: BaseVocabulary, seed: int) -> PreTrainedModel:
        """The model in float32, with a row for every token of `vocabulary`.

        New rows are the mean of the old ones and a little noise from `seed`: a start from which no SID is likelier
        than another. Raises `TrainingError` for missing or unfit weights, and for a model that sees the future.
        """
        try:
            model, info = AutoModelForCausalLM.from_pretrained(
                self.folder,
                config=copy.deepcopy(self.config),
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # to be named below
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise TrainingError(f"--base {self.folder}: cannot be loaded: {first_line(error)}") from None
        if missing := sorted(info["missing_keys"]):
            raise TrainingError(f"--base {self.folder}: lacks weights of {self._type}: {', '.join(missing[:SHOWN])}")
        if unfit := sorted(name for name, *_ in info["mismatched_keys"]):
            raise TrainingError(f"--base {self.folder}: weights unlike config.json: {', '.join(unfit[:SHOWN])}")
        self._check_causal(model)
        _fit(model, vocabulary, seed)
        # What the base was told about sampling or penalties would change the items of a recommender.
        old = model.generation_config
        model.generation_config = GenerationConfig(
            bos_token_id=old.bos_token_id, eos_token_id=old.eos_token_id, pad_token_id=old.pad_token_id
        )
        return model

    @property
    def _type(self) -> str:
        return str(self.config.model_type)

    def _check(self) -> None:
        config, place = self.config, f"--base {self.folder}"
        if getattr(config, "is_encoder_decoder", False):
            raise TrainingError(f"{place}: {self._type} is an encoder-decoder; a causal LM is needed")
        for name in ("vocab_size", "max_position_embeddings"):
            if not isinstance(getattr(config, name, None), int):
                raise TrainingError(f"{place}: config.json states no {name}, which Sidebeam needs")
        if getattr(config, "quantization_config", None) is not None:
            raise TrainingError(f"{place}: has quantised weights, which cannot be trained")
        if not any((self.folder / name).is_file() for name in WEIGHTS):
            raise TrainingError(f"{place}: holds no {WEIGHTS[0]} (nor {WEIGHTS[1]})")
        register()
        try:
            with torch.device("meta"):
                hollow = AutoModelForCausalLM.from_config(
                    copy.deepcopy(config), attn_implementation=ATTENTION, trust_remote_code=False
                )
        except (ValueError, KeyError) as error:
            raise TrainingError(f"{place}: is no causal LM that Sidebeam can serve: {first_line(error)}") from None
        if hollow.config._attn_implementation != ATTENTION:
            raise TrainingError(f"{place}: {self._type} does not take an attention function of Sidebeam's")

    @torch.no_grad()
    def _check_causal(self, model: PreTrainedModel) -> None:
        first, second = (
            model.eval()(input_ids=torch.tensor([[0, 0, last]]), use_cache=False).logits[0, :2] for last in (0, 1)
        )
        if not torch.allclose(first, second, rtol=1e-3, atol=1e-4, equal_nan=True):
            raise TrainingError(f"--base {self.folder}: {self._type} sees later tokens; a causal LM is needed")


@torch.no_grad()
def _fit(model: Any, vocabulary: BaseVocabulary, seed: int) -> None:
    """Gives every token a row. Rows that the model kept in reserve are as new as those that are appended."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    rows, tied = len(embedding.weight), head.weight is embedding.weight
    known = sorted(id_ for id_ in vocabulary.known if id_ < rows)
    needed = max(vocabulary.ids.values()) + 1
    if needed > rows:
        model.resize_token_embeddings(needed, mean_resizing=False)
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    new = torch.tensor(sorted({*vocabulary.ids.values()} - set(known)), dtype=torch.long)
    random = torch.Generator().manual_seed(seed)
    _begin(embedding.weight, known, new, random)
    if not tied:
        _begin(head.weight, known, new, random)
    if isinstance(head, nn.Linear) and head.bias is not None:
        head.bias[new] = head.bias[known].mean()


def _begin(weight: Tensor, known: list[int], new: Tensor, random: torch.Generator) -> None:
    """Sets the `new` rows of `weight` [V, hidden]."""
    old = weight[known]
    noise = torch.randn(len(new), weight.shape[1], generator=random)
    weight[new] = old.mean(dim=0) + NOISE * old.std() * noise.to(weight)
