"""Prompts as they are served, for items as training numbers them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sidebeam.bundle import PromptBuilder, PromptFormat, Tokenizer
from sidebeam.catalog import Catalog
from sidebeam.training.error import TrainingError
from sidebeam.training.histories import Items
from sidebeam.training.template import HISTORY
from sidebeam.training.vocabulary import Vocabulary


class ItemPrompts:
    """The served prompts themselves: the bundle's `PromptBuilder` makes them, here from indices in file order.

    `start` are the ids around an empty text; `sids` the ids that follow prompts, [items, L].
    """

    def __init__(self, items: Items, vocabulary: Vocabulary, prompt: PromptFormat) -> None:
        self.items = items
        self.start = vocabulary.start
        self.sids: npt.NDArray[np.int64] = vocabulary.encode(items)
        self.format = prompt
        catalog = Catalog.build(items.ids, self.sids)
        self._index = catalog.item_indices(items.ids).tolist()  # the catalog sorts its items
        self._builder = PromptBuilder(prompt, Tokenizer(vocabulary.fast), catalog)

    def __call__(self, items: Sequence[int]) -> list[int]:
        """Token ids of the prompt for these items, oldest first; only the `max_history` latest are used."""
        return self._builder.from_items([self._index[item] for item in items])

    @property
    def longest(self) -> int:
        """Tokens of a prompt with a full history."""
        return len(self([item % len(self._index) for item in range(self.format.max_history)]))

    @property
    def bare(self) -> bool:
        """Whether a prompt is nothing but start tokens and SIDs, so that every item in it can be a label, too."""
        plain = self.format.template == HISTORY and not self.format.item_separator
        return plain and self([0]) == [*self.start, *self.sids[0].tolist()]

    def check(self, positions: int, owner: str) -> None:
        """Raises `TrainingError` if a full history and its SID take more than the `positions` of `owner`, a model."""
        fed = self.longest + self.sids.shape[1] - 1  # the last token is never fed
        if fed > positions:
            raise TrainingError(
                f"{owner}: a prompt of {self.format.max_history} items and its SID take {fed} tokens; the model takes "
                f"{positions}. Lower --max-history or shorten --template"
            )
