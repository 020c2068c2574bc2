"""Items, their semantic IDs, and the trie over them. NumPy only."""

from sidebeam.catalog.catalog import Catalog, CatalogError
from sidebeam.catalog.file import CatalogFileError
from sidebeam.catalog.filter import LeafFilter
from sidebeam.catalog.fit import CatalogUnfit, refuse_unfit
from sidebeam.catalog.trie import ROOT, Trie, ranges

__all__ = [
    "ROOT",
    "Catalog",
    "CatalogError",
    "CatalogFileError",
    "CatalogUnfit",
    "LeafFilter",
    "Trie",
    "ranges",
    "refuse_unfit",
]
