"""The tokens a recommender reads and writes: a few marks and the SID tokens of a catalog."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing

from sidebeam.training.error import TrainingError
from sidebeam.training.histories import SID_TOKEN, Items

PAD, START, END = "<pad>", "<s>", "</s>"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Token ids by token; `start` are the ids that open every prompt."""

    ids: Mapping[str, int]
    start: tuple[int, ...]

    @classmethod
    def of(cls, items: Items) -> Vocabulary:
        """The marks first, then the SID tokens level by level, numbers in numeric order. Depends on `items` only.

        Raises `TrainingError` for an SID token that is one of the marks.
        """
        tokens = dict.fromkeys((PAD, START, END))
        for mark in tokens:
            if any(mark in sid for sid in items.sids):
                raise TrainingError(f"the items use the SID token {mark}, which the tokenizer needs for itself")
        for level in zip(*items.sids, strict=True):
            tokens.update(dict.fromkeys(sorted(set(level), key=_numeric)))
        return cls({token: id_ for id_, token in enumerate(tokens)}, start=(1,))

    @classmethod
    def open(cls, folder: Path) -> Vocabulary:
        """The vocabulary of a model folder. Raises `TrainingError` where it has no readable `tokenizer.json`."""
        path = folder / "tokenizer.json"
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises the bare class
            raise TrainingError(f"{path}: not a tokenizer: {error}") from None
        return cls(tokenizer.get_vocab(), tuple(tokenizer.encode("").ids))

    def encode(self, items: Items) -> npt.NDArray[np.int64]:
        """SID token ids, [items, L]. Raises `TrainingError` for a token that the vocabulary does not have."""
        unknown = {token for sid in items.sids for token in sid if token not in self.ids}
        if unknown:
            some = ", ".join(sorted(unknown, key=_numeric)[:5])
            raise TrainingError(f"the target's tokenizer lacks {len(unknown)} SID tokens of the items, such as {some}")
        return np.array([[self.ids[token] for token in sid] for sid in items.sids], dtype=np.int64)

    def save(self, folder: Path, max_length: int) -> None:
        """Writes `tokenizer.json` and `tokenizer_config.json`, so that `AutoTokenizer` opens the folder."""
        tokenizer = Tokenizer(WordLevel(dict(self.ids), unk_token=PAD))
        tokenizer.pre_tokenizer = Split(Regex(SID_TOKEN.pattern), "isolated")
        tokenizer.post_processor = TemplateProcessing(
            single=f"{START} $A", pair="$A $B:1", special_tokens=[(START, self.ids[START])]
        )
        tokenizer.add_special_tokens([PAD, START, END])
        tokenizer.save(str(folder / "tokenizer.json"))
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": PAD,
            "bos_token": START,
            "eos_token": END,
            "model_max_length": max_length,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _numeric(token: str) -> tuple[str, int, str]:
    number = re.search(r"\d+", token)
    return (token[: number.start()], int(number[0]), token) if number else (token, -1, token)
