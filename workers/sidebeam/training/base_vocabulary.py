"""The tokenizer of a model that others trained, with a catalog's SID tokens added."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AddedToken, AutoTokenizer

from sidebeam.bundle import PromptFormat
from sidebeam.training.error import TrainingError, first_line
from sidebeam.training.histories import Items
from sidebeam.training.template import HISTORY
from sidebeam.training.vocabulary import Vocabulary, sid_tokens


@dataclass(frozen=True, slots=True)
class BaseVocabulary(Vocabulary):
    """`known` are the ids that the tokenizer had before; `library` is the tokenizer that transformers opened."""

    known: frozenset[int]
    library: Any

    @classmethod
    def extend(cls, base: Path, items: Items, prompt: PromptFormat) -> BaseVocabulary:
        """Opens a tokenizer and adds the SID tokens that it lacks, level by level in numeric order.

        Raises `TrainingError` for a folder without a fast tokenizer, or one that SIDs or `prompt` do not fit.
        """
        library = _open(base, base)
        taken = set(library.all_special_tokens)
        tokens = sid_tokens(items)
        for token in tokens:
            if token in taken:
                raise TrainingError(f"--base {base}: the items use the SID token {token}, which the tokenizer needs")
        known = frozenset(library.get_vocab().values())
        # Matched in the raw text before anything is normalised or merged, whatever a token was before.
        library.add_tokens([AddedToken(token, normalized=False, special=False) for token in tokens])
        with tempfile.TemporaryDirectory() as folder:
            library.save_pretrained(folder)
            shutil.copyfile(base / "config.json", Path(folder) / "config.json")  # it, too, decides on a class
            saved = Vocabulary.open(Path(folder))
            _compare(base, saved, _open(Path(folder), base), items, prompt)
        vocabulary = cls(saved.ids, saved.start, saved.fast, known, library)
        try:
            vocabulary.encode(items)
        except TrainingError as error:
            raise TrainingError(f"--base {base}: {error}") from None
        return vocabulary

    def save(self, folder: Path, max_length: int) -> None:
        """Writes all files of the tokenizer; its own longest text stays, unless the model takes less."""
        self.library.model_max_length = min(self.library.model_max_length, max_length)
        self.library.save_pretrained(folder)


def _open(folder: Path, base: Path) -> Any:
    """The tokenizer in `folder`, which is `base` or was made from it."""
    if not (folder / "tokenizer.json").is_file():
        raise TrainingError(f"--base {base}: has no fast tokenizer: tokenizer.json is missing")
    try:
        library = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a damaged file makes the tokenizers library raise the bare class
        raise TrainingError(f"--base {base}: the tokenizer cannot be opened: {first_line(error)}") from None
    if not getattr(library, "is_fast", False):
        raise TrainingError(f"--base {base}: has no fast tokenizer: transformers opens a {type(library).__name__}")
    return library


def _compare(base: Path, saved: Vocabulary, library: Any, items: Items, prompt: PromptFormat) -> None:
    """Servers read `tokenizer.json` alone: it must say what transformers says."""
    sids = ["".join(sid) for sid in items.sids[: prompt.max_history]]
    for history in ("", sids[0], prompt.item_separator.join(sids)):
        text = prompt.template.replace(HISTORY, history)
        ours, theirs = saved.fast.encode(text).ids, list(library(text)["input_ids"])
        if ours != theirs:
            raise TrainingError(
                f"--base {base}: tokenizer.json alone and transformers read a prompt differently, "
                f"{len(ours)} and {len(theirs)} tokens; save the tokenizer with this version of transformers"
            )
