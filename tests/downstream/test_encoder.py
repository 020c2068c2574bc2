"""Texts as vectors by a transformers model: padding and order change nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModel, BertConfig, BertModel, LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from sidebeam.downstream.encoder import TransformerEncoder
from sidebeam.downstream.error import DownstreamError

TEXTS = ["oak and brass", "brass", "", "oak oak and felt and oak " * 20, "felt and brass"]


def _save(folder: Path, kind: str) -> Path:
    words = {word: place for place, word in enumerate(["<unk>", "<pad>", "oak", "brass", "and", "felt"])}
    fast = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    pad = {"pad_token": "<pad>"} if kind == "bert" else {}
    PreTrainedTokenizerFast(tokenizer_object=fast, unk_token="<unk>", **pad).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    if kind == "bert":
        BertModel(BertConfig(vocab_size=6, max_position_embeddings=64, **sizes)).save_pretrained(folder)
    else:
        LlamaModel(LlamaConfig(vocab_size=6, max_position_embeddings=64, **sizes)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_a_vector_is_the_mean_over_a_texts_own_tokens(tmp_path: Path, kind: str) -> None:
    encoder = TransformerEncoder(_save(tmp_path, kind))
    together = encoder.encode(TEXTS)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert np.allclose(together, alone, atol=1e-5)
    model = AutoModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        states = model(input_ids=torch.tensor([[2, 4, 3]])).last_hidden_state[0].mean(0)
    assert np.allclose(together[0], (states / states.norm()).numpy(), atol=1e-5)
    assert np.allclose(np.linalg.norm(together, axis=1), [1, 1, 0, 1, 1], atol=1e-5)


def test_folders_that_are_no_encoders(tmp_path: Path) -> None:
    with pytest.raises(DownstreamError, match=r"--encoder .*none: cannot be opened: "):
        TransformerEncoder(tmp_path / "none")
    folder = _save(tmp_path / "bert", "bert")
    (folder / "model.safetensors").write_bytes(b"half")
    with pytest.raises(DownstreamError, match=r"--encoder .*bert: cannot be opened: "):
        TransformerEncoder(folder)
