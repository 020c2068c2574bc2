"""Whether a catalog can take the place of another one while models go on running."""

from __future__ import annotations

from sidebeam.catalog.catalog import Catalog


class CatalogUnfit(ValueError):
    """It cannot; the message says why."""


def refuse_unfit(new: Catalog, old: Catalog, vocab_size: int | None) -> None:
    """Raises CatalogUnfit where models that serve `old` cannot serve `new` beside it; None: they are not known yet."""
    if new.depth != old.depth:
        raise CatalogUnfit(f"its SIDs have {new.depth} tokens, the running catalog's {old.depth}: that takes a restart")
    if vocab_size is not None and new.trie.alphabet[-1] >= vocab_size:
        raise CatalogUnfit(
            f"its token ids reach {new.trie.alphabet[-1]}; the model's vocabulary has only {vocab_size} tokens"
        )
