"""The tokens a recommender reads and writes: a few marks, the SID tokens of a catalog, the words around them."""

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

from sidebeam.bundle import PromptFormat
from sidebeam.training.error import TrainingError
from sidebeam.training.histories import SID_TOKEN, Items
from sidebeam.training.template import BARE, HISTORY

PAD, START, END = "<pad>", "<s>", "</s>"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Token ids by token. `start`: the ids that the tokenizer puts around an empty text, as a rule in front."""

    ids: Mapping[str, int]
    start: tuple[int, ...]
    fast: Tokenizer

    @classmethod
    def of(cls, items: Items, prompt: PromptFormat = BARE) -> Vocabulary:
        """The marks first, then the SID tokens, then the pieces of text that `prompt` puts around them.

        Each such piece is one token: a model that knows no language has nothing to gain from words. Depends on the
        arguments only. Raises `TrainingError` for an SID token that is one of the marks.
        """
        for mark in (PAD, START, END):
            if any(mark in sid for sid in items.sids):
                raise TrainingError(f"the items use the SID token {mark}, which the tokenizer needs for itself")
        tokens = dict.fromkeys((PAD, START, END, *sid_tokens(items), *_pieces(prompt, items)))
        ids = {token: id_ for id_, token in enumerate(tokens)}
        return cls(ids, (ids[START],), _word_level(ids))

    @classmethod
    def open(cls, folder: Path) -> Vocabulary:
        """The vocabulary of a model folder. Raises `TrainingError` where it has no readable `tokenizer.json`."""
        path = folder / "tokenizer.json"
        try:
            fast = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises the bare class
            raise TrainingError(f"{path}: not a tokenizer: {error}") from None
        fast.no_truncation()
        fast.no_padding()
        return cls(fast.get_vocab(), tuple(fast.encode("").ids), fast)

    def encode(self, items: Items) -> npt.NDArray[np.int64]:
        """SID token ids, [items, L].

        Raises `TrainingError` for a token that the vocabulary does not have, or that the tokenizer takes apart.
        """
        unknown = {token for sid in items.sids for token in sid if token not in self.ids}
        if unknown:
            some = ", ".join(sorted(unknown, key=_numeric)[:5])
            raise TrainingError(f"the target's tokenizer lacks SID tokens of the items: {len(unknown)}, such as {some}")
        for sid in dict.fromkeys(items.sids):
            found = self.fast.encode("".join(sid), add_special_tokens=False)
            if found.ids != [self.ids[token] for token in sid]:
                raise TrainingError(f"the tokenizer reads the SID {''.join(sid)} as {' '.join(found.tokens)}")
        return np.array([[self.ids[token] for token in sid] for sid in items.sids], dtype=np.int64)

    def save(self, folder: Path, max_length: int) -> None:
        """Writes a fresh vocabulary's `tokenizer.json` and `tokenizer_config.json` for `AutoTokenizer` to open."""
        _word_level(self.ids).save(str(folder / "tokenizer.json"))
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": PAD,
            "bos_token": START,
            "eos_token": END,
            "model_max_length": max_length,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def sid_tokens(items: Items) -> list[str]:
    """All SID tokens once, level by level, numbers in numeric order."""
    tokens: dict[str, None] = {}
    for level in zip(*items.sids, strict=True):
        tokens.update(dict.fromkeys(sorted(set(level), key=_numeric)))
    return list(tokens)


def _pieces(prompt: PromptFormat, items: Items) -> list[str]:
    """What the tokenizer cuts prompts into: one with a history of two items, and one with none."""
    sid = "".join(items.sids[0])
    texts = (prompt.template.replace(HISTORY, history) for history in (sid + prompt.item_separator + sid, ""))
    return [piece for text in texts for piece in re.split(f"({SID_TOKEN.pattern})", text) if piece]


def _word_level(ids: Mapping[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(WordLevel(dict(ids), unk_token=PAD))
    tokenizer.pre_tokenizer = Split(Regex(SID_TOKEN.pattern), "isolated")
    tokenizer.post_processor = TemplateProcessing(
        single=f"{START} $A", pair="$A $B:1", special_tokens=[(START, ids[START])]
    )
    tokenizer.add_special_tokens([PAD, START, END])
    return tokenizer


def _numeric(token: str) -> tuple[str, int, str]:
    number = re.search(r"\d+", token)
    return (token[: number.start()], int(number[0]), token) if number else (token, -1, token)
