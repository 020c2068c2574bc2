"""What a target is before it is trained: a fresh model or one that others trained, and how it reads prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sidebeam.bundle import PromptFormat
from sidebeam.training.base_model import BaseModel
from sidebeam.training.base_vocabulary import BaseVocabulary
from sidebeam.training.checkpoint import Setting
from sidebeam.training.dropout import add_dropout
from sidebeam.training.fresh_model import fresh_model
from sidebeam.training.histories import Items
from sidebeam.training.item_prompts import ItemPrompts
from sidebeam.training.plan import Plan
from sidebeam.training.shape import Shape
from sidebeam.training.vocabulary import Vocabulary

MIN_POSITIONS = 512  # room for prompts longer than training's


@dataclass(frozen=True, slots=True)
class Untrained:
    """All that is known before weights are touched; `base` is None for a fresh model."""

    plan: Plan
    prompts: ItemPrompts
    vocabulary: Vocabulary
    base: BaseModel | None

    @classmethod
    def of(cls, plan: Plan, items: Items, prompt: PromptFormat) -> Untrained:
        """Raises `TrainingError` for a base that is no use, or that SIDs or prompts do not fit."""
        if plan.base is None:
            vocabulary = Vocabulary.of(items, prompt)
            return cls(plan, ItemPrompts(items, vocabulary, prompt), vocabulary, None)
        base = BaseModel.open(plan.base)
        extended = BaseVocabulary.extend(plan.base, items, prompt)
        prompts = ItemPrompts(items, extended, prompt)
        prompts.check(base.positions, f"--base {plan.base}")
        return cls(plan, prompts, extended, base)

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding."""
        needed = max(self.vocabulary.ids.values()) + 1
        return needed if self.base is None else max(needed, self.base.config.vocab_size)

    @property
    def positions(self) -> int:
        """The longest text that the model takes, in tokens."""
        longest = self.prompts.longest + self.prompts.items.depth
        return max(MIN_POSITIONS, 2 * longest) if self.base is None else self.base.positions

    @property
    def settings(self) -> Mapping[str, Setting]:
        """What a resumed run must share with the interrupted one."""
        plan = self.plan
        return {
            "content of --base": None if self.base is None else self.base.fingerprint,
            "lora": None if plan.lora is None else str(plan.lora),
            "dropout": plan.dropout,
            "label_smoothing": plan.label_smoothing,
            "loss_on": plan.loss_on,
            "shuffle": plan.shuffle,
        }

    def model(self, shape: Shape, seed: int) -> Any:
        """The model to train; `shape` is a fresh one's. Raises `TrainingError` for weights that cannot be trained."""
        model = self._begin(shape, seed)
        if self.plan.dropout:
            add_dropout(model, self.plan.dropout)
        if self.plan.lora is None:
            return model
        from sidebeam.training.adapter import adapted  # PEFT takes seconds to import

        return adapted(model, self.plan.lora, np.unique(self.prompts.sids).tolist(), seed)

    def _begin(self, shape: Shape, seed: int) -> Any:
        if self.base is not None and isinstance(self.vocabulary, BaseVocabulary):
            return self.base.load(self.vocabulary, seed)
        return fresh_model(shape, self.vocabulary, vocab_size=self.vocab_size, max_positions=self.positions, seed=seed)

    def save(self, model: Any, folder: Path) -> None:
        """Writes the trained `model`, adapters merged, and the tokenizer; uses the model up."""
        if self.plan.lora is not None:
            from sidebeam.training.adapter import merged

            model = merged(model)
        model.save_pretrained(folder)
        self.vocabulary.save(folder, self.positions)
