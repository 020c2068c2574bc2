"""From a user's history to prompt tokens, by the bundle's template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sidebeam.bundle.tokenizer import Tokenizer
from sidebeam.catalog import Catalog

HISTORY = "{history}"


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """How a history becomes text: items joined by `item_separator`, put in place of `{history}`."""

    template: str = HISTORY
    item_separator: str = ", "
    max_history: int = 20


class PromptBuilder:
    """Builds prompts as token ids. The answer's SID tokens follow directly after the last of them."""

    def __init__(self, prompt_format: PromptFormat, tokenizer: Tokenizer, catalog: Catalog) -> None:
        self._format = prompt_format
        self._tokenizer = tokenizer
        self._catalog = catalog
        self._spelling = {int(t): tokenizer.token(int(t)) for t in catalog.trie.alphabet}

    def from_items(self, items: Sequence[int]) -> list[int]:
        """Prompt for item indices, oldest first; only the `max_history` latest are used."""
        recent = list(items)[-self._format.max_history :]
        sids = self._catalog.sids_of(np.array(recent, np.int64))
        history = self._format.item_separator.join("".join(self.spell(sid)) for sid in sids.tolist())
        return self._tokenizer.encode(self._format.template.replace(HISTORY, history))

    def from_text(self, text: str) -> list[int]:
        """Prompt in the caller's own words."""
        return self._tokenizer.encode(text)

    def spell(self, tokens: Iterable[int]) -> list[str]:
        """SID tokens as the catalog spells them."""
        return [self._spelling[int(token)] for token in tokens]
