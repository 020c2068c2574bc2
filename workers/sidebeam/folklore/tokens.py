"""The demo LM's tokenizer: byte-level BPE, trained on its own texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

from sidebeam.training.vocabulary import END, PAD, START, Vocabulary


@dataclass(frozen=True, slots=True)
class Tokens:
    """Text to ids and back without loss, for any text at all."""

    fast: Tokenizer

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> Tokens:
        """At most `vocab_size` tokens; the same texts give the same ones."""
        fast = Tokenizer(models.BPE())
        fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        fast.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[PAD, START, END],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        fast.train_from_iterator(texts, trainer)
        start = fast.token_to_id(START)
        fast.post_processor = TemplateProcessing(
            single=f"{START} $A", pair=f"{START} $A $B:1", special_tokens=[(START, start)]
        )
        return cls(fast)

    @property
    def vocabulary(self) -> Vocabulary:
        """As models are made from."""
        ids = self.fast.get_vocab()
        return Vocabulary(ids, (ids[START],), self.fast)

    @property
    def end(self) -> int:
        """The id that ends a text."""
        return self.vocabulary.ids[END]

    def prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """Prompts' ids, with the start mark."""
        return [found.ids for found in self.fast.encode_batch_fast(list(texts))]

    def answers(self, texts: Sequence[str]) -> list[list[int]]:
        """Texts' ids, with the end mark."""
        end = self.end
        return [[*found.ids, end] for found in self.fast.encode_batch_fast(list(texts), add_special_tokens=False)]

    def prompt(self, text: str) -> list[int]:
        """A prompt's ids, with the start mark."""
        return self.prompts([text])[0]

    def answer(self, text: str) -> list[int]:
        """A text's ids, with the end mark."""
        return self.answers([text])[0]

    def save(self, folder: Path, max_length: int) -> None:
        """Writes `tokenizer.json` and `tokenizer_config.json` for `AutoTokenizer` to open."""
        self.fast.save(str(folder / "tokenizer.json"))
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": PAD,
            "bos_token": START,
            "eos_token": END,
            "clean_up_tokenization_spaces": False,
            "model_max_length": max_length,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
