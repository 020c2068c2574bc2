"""Small models of several families, such as a user may bring, with tokenizers trained on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

CORPUS = (
    "Below is a task. A customer bought these things, oldest first: a lamp, a chair and a pot.",
    "Write what the customer will choose next. The user chose a red kettle, then a blue one.",
    "### Instruction: which item comes next? ### Response: the one with the number 42 < 47 > 3_1.",
)
SPARE_ROWS = 24  # that Qwen2's embedding has beyond its tokenizer, as the real one's


def byte_level(start: str | None, pieces: int = 340) -> PreTrainedTokenizerFast:
    """A byte-level BPE, trained on a few sentences; `start` opens every text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    marks = ["<|end|>", *([start] if start else [])]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=pieces, special_tokens=marks, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    if start:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{start} $A", special_tokens=[(start, tokenizer.token_to_id(start))]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", bos_token=start)


def lower_casing(words: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """A word tokenizer that lowers case and cuts at punctuation, so that it reads <A_1> as < a _ 1 >."""
    known = ["[unk]", *"<>_0123456789abcdef", "the", "user", "chose", "next", ".", ":", ",", *words]
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(known)}, unk_token="[unk]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[unk]")


def save_base(folder: Path, family: str, tokenizer: PreTrainedTokenizerFast | None = None, **config: Any) -> Path:
    """Writes a model of a family, with Llama's head of its own and Qwen2's and GPT-2's tied, and its tokenizer."""
    tokenizer = tokenizer or byte_level("<s>" if family == "llama" else None)
    rows = len(tokenizer)
    common = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    common |= {"num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.2} | config
    marks = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(5)
    model: Any
    if family == "llama":
        model = LlamaForCausalLM(LlamaConfig(vocab_size=rows, tie_word_embeddings=False, **common, **marks))
    elif family == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(vocab_size=rows + SPARE_ROWS, tie_word_embeddings=True, **common, **marks))
    else:
        model = GPT2LMHeadModel(GPT2Config(vocab_size=rows, n_embd=32, n_layer=2, n_head=4, n_positions=1024, **marks))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
