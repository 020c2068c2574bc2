"""An untrained recommender."""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from sidebeam.training.shape import Shape
from sidebeam.training.vocabulary import END, PAD, START, Vocabulary


def fresh_model(
    shape: Shape, vocabulary: Vocabulary, *, vocab_size: int, max_positions: int, seed: int
) -> PreTrainedModel:
    """A Llama with random weights; the same seed gives the same ones.

    `vocab_size` counts the rows of the embedding, and may exceed the vocabulary's tokens.
    """
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=max_positions,
        pad_token_id=vocabulary.ids.get(PAD),
        bos_token_id=vocabulary.ids.get(START),
        eos_token_id=vocabulary.ids.get(END),
        tie_word_embeddings=False,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)
