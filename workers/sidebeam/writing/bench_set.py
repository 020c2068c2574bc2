"""Prompts that a bench asks, and what was written before: of the same entities, and of others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sidebeam.bundle import Bundle
from sidebeam.evaluation.sample import between, evenly
from sidebeam.grouping import GroupingError, read_groups
from sidebeam.grouping.texts_file import read_texts
from sidebeam.knowledge.pools import Pools
from sidebeam.knowledge.tokenizer import TextTokenizer, end_token, tokenizer_fingerprint
from sidebeam.writing.error import WritingError
from sidebeam.writing.prompt_list import PromptList
from sidebeam.writing.writer import Asked

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class BenchSet:
    """One kind of entities. `earlier` texts were written from other prompts than these."""

    name: str
    measured: tuple[Asked, ...]
    served: tuple[Asked, ...]  # before anything is measured, so that what is learned from texts has been
    earlier: Mapping[str, Ints]  # tokens by entity, with the end token
    groups: Mapping[str, str]

    @classmethod
    def open(
        cls, bundle: Bundle, prompts: Path, texts: Path, groups: Path | None, measured: int, served: int
    ) -> BenchSet:
        """`measured` and `served` prompts, spread over the file. Raises `WritingError` for unusable input."""
        try:
            group_of = {} if groups is None else read_groups(groups)
            earlier = _tokens(bundle, read_texts(texts))
        except (GroupingError, ValueError) as error:
            raise WritingError(str(error)) from None
        with PromptList.open(prompts, group_of) as listed:
            asked = [Asked(listed.text(prompt), prompt.entity, prompt.group) for prompt in listed.prompts]
        if len(asked) < measured + served:
            raise WritingError(f"{prompts}: must hold {measured + served} prompts or more; given {len(asked)}")
        of_lines = {each.entity: each.group for each in asked if each.entity is not None and each.group is not None}
        return cls(
            name=prompts.stem.removeprefix("prompts-"),
            measured=tuple(evenly(asked, measured)),
            served=tuple(between(asked, measured, served)),
            earlier=earlier,
            groups={**group_of, **of_lines},
        )

    def pools(self, bundle: Bundle, folder: Path, *, own: bool) -> Path:
        """Makes pools of all earlier texts; without `own`, of those whose entities are never asked about here."""
        asked = {each.entity for each in (*self.measured, *self.served)}
        with Pools.create(folder, tokenizer_fingerprint(bundle.tokenizer), end_token(bundle.target)) as pools:
            for entity, tokens in self.earlier.items():
                if own or entity not in asked:
                    pools.learn(entity, tokens, self.groups.get(entity))
            if not pools.commit():
                raise WritingError(f"{self.name}: all texts are of entities that are asked about; others are needed")
            pools.compact()
        return folder


def _tokens(bundle: Bundle, texts: Mapping[str, str]) -> dict[str, Ints]:
    tokenizer, end = TextTokenizer.open(bundle.tokenizer), end_token(bundle.target)
    ends = [] if end is None else [end]
    rows: Iterable[list[int]] = tokenizer.encode(list(texts.values()))
    return {entity: np.array([*row, *ends], np.int32) for entity, row in zip(texts, rows, strict=True)}
