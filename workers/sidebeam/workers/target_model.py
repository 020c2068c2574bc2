"""A bundle's target, loaded once for all that the bundle does: searches, texts, or both with one set of KV slots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sidebeam.bundle import Bundle, Texts, Tokenizer, open_catalog
from sidebeam.catalog import Catalog
from sidebeam.engine import Engine, EngineInfo, PassEngine
from sidebeam.engine.loading import TREE_CELLS, longest_prompt, packed_for
from sidebeam.models import KVSlots, ModelError, PackedModel, load_model
from sidebeam.models.loading import DType
from sidebeam.texts import JointEngine, TextEngine
from sidebeam.texts.engine import PASS_ROWS
from sidebeam.texts.request import MOST_ROWS
from sidebeam.writing.codec import Codec
from sidebeam.writing.writer import MAX_PROMPT_TOKENS, NO_TOKEN, Writer, vocabulary_of

SPARED = 4  # one slot in so many is never taken by texts, which hold theirs for long, where there are searches


@dataclass(frozen=True, slots=True)
class TargetModel:
    """`searches` None: the bundle has no catalog; `writer` None: it has no [texts]."""

    bundle: Bundle
    packed: PackedModel
    searches: Engine | None
    writer: Writer | None

    @classmethod
    def load(
        cls,
        bundle: Bundle,
        *,
        device: str = "cpu",
        dtype: DType = "float32",
        threads: int | None = None,
        slots: int = 16,
        max_prompt_tokens: int | None = None,
        max_memory: Mapping[int | str, int | str] | None = None,
        offload_folder: Path | None = None,
    ) -> TargetModel:
        """Load and warm up. `max_prompt_tokens` None: 512 for searches, 1,024 for texts, where the model allows it.

        Raises ModelError, BundleError or WritingError for parts that do not fit.
        """
        catalog = None if bundle.items is None else open_catalog(bundle, Tokenizer.open(bundle.tokenizer))
        codec = None if bundle.texts is None else Codec.open(bundle.tokenizer)
        if threads is not None:
            torch.set_num_threads(threads)
        model = load_model(
            bundle.target, device=device, dtype=dtype, max_memory=max_memory, offload_folder=offload_folder
        )
        longest = 0 if catalog is None else longest_prompt(model, catalog, max_prompt_tokens)
        cells = 0 if catalog is None else longest + TREE_CELLS
        text_prompt = 0
        if bundle.texts is not None:
            text_prompt = _longest_text_prompt(model, max_prompt_tokens)
            cells = max(cells, _text_cells(model, text_prompt, bundle.texts))
        packed = _packed(model, catalog, bundle, slots, cells)
        searches = None
        if catalog is not None:
            searches = Engine(packed, catalog, bundle.scoring, longest, bundle.defaults.draft_beams)
        writer = None
        if bundle.texts is not None and codec is not None:
            spared = 0 if catalog is None else -(-slots // SPARED)
            texts = TextEngine(
                packed,
                vocabulary_of(model, bundle, codec),
                max_open=max(1, slots - spared),
                pass_rows=max(PASS_ROWS, slots),
            )
            writer = Writer(texts, codec, max_new_tokens=bundle.texts.max_new_tokens, max_prompt_tokens=text_prompt)
        loaded = cls(bundle, packed, searches, writer)
        loaded._warm_up()
        return loaded

    @property
    def engine(self) -> PassEngine:
        """All that there is, as one engine."""
        if self.writer is None:
            assert self.searches is not None
            return self.searches
        if self.searches is None:
            return self.writer.engine
        return JointEngine(self.searches, self.writer.engine)

    def describe(self) -> EngineInfo:
        """Limits, memory and the pass-time curve: of searches, where there are any."""
        if self.searches is not None:
            return self.searches.describe()
        assert self.writer is not None
        return EngineInfo(
            catalog_version="",
            vocab_size=int(self.packed.config.vocab_size),
            max_prompt_tokens=self.writer.max_prompt_tokens,
            slots=self.packed.slots.slots,
            kv_bytes=self.packed.slots.nbytes,
            curve=self.writer.engine.drafts.pace.points(),
        )

    def _warm_up(self) -> None:
        if self.searches is not None:
            self.searches.warm_up()
        if self.writer is not None:
            self.writer.engine.warm_up()


def _packed(model: Any, catalog: Catalog | None, bundle: Bundle, slots: int, cells: int) -> PackedModel:
    if catalog is None:
        return PackedModel(model, KVSlots(slots, cells), NO_TOKEN, normalise=True)
    return packed_for(model, catalog, bundle.scoring, slots, cells)


def _longest_text_prompt(model: Any, asked: int | None) -> int:
    room = int(model.config.max_position_embeddings) - 1  # one position is the text's
    if asked is not None and not 1 <= asked <= room:
        raise ModelError(f"max_prompt_tokens must be 1 to {room} for this model; given {asked}")
    return min(room, asked if asked is not None else MAX_PROMPT_TOKENS)


def _text_cells(model: Any, longest: int, texts: Texts) -> int:
    """Of a slot: the longest prompt, the longest text, and a draft."""
    return min(int(model.config.max_position_embeddings), longest + texts.max_new_tokens) + MOST_ROWS
