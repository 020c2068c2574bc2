"""One version of the catalog, and all that the front makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sidebeam.bundle import Bundle, PromptBuilder, Tokenizer, compiled_catalog, open_catalog
from sidebeam.catalog import Catalog
from sidebeam.server.fleet.catalog_link import CatalogFile
from sidebeam.server.recommendation.ranking import Ranking


@dataclass(frozen=True, slots=True, eq=False)
class Edition:
    """A request is judged, searched and answered by one and the same."""

    catalog: Catalog
    prompts: PromptBuilder
    ranking: Ranking
    file: CatalogFile

    @classmethod
    def first(cls, bundle: Bundle, tokenizer: Tokenizer, spare: Path) -> Edition:
        """That of the bundle's items. Raises BundleError.

        They are compiled into the user's cache, or else into `spare`; without room for that, each process does it.
        """
        path = compiled_catalog(bundle, tokenizer, spare)
        return cls.of(bundle, tokenizer, Catalog.open(path) if path else open_catalog(bundle, tokenizer), path)

    @classmethod
    def of(cls, bundle: Bundle, tokenizer: Tokenizer, catalog: Catalog, path: Path | None) -> Edition:
        """That of a catalog which lies compiled at `path`. Raises KeyError for a token the tokenizer does not know."""
        prompts = PromptBuilder(bundle.prompt, tokenizer, catalog)
        return cls(catalog, prompts, Ranking(catalog, prompts), CatalogFile(catalog.version, path))
