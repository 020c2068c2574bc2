"""The folder a user brings: models, tokenizer, catalog, prompt. No torch."""

from sidebeam.bundle.bundle import Bundle, BundleError, Defaults, Texts
from sidebeam.bundle.compiled import compiled_catalog, open_catalog
from sidebeam.bundle.index import cache_folder, compile_index
from sidebeam.bundle.prompt import PromptBuilder, PromptFormat
from sidebeam.bundle.tokenizer import Tokenizer

__all__ = [
    "Bundle",
    "BundleError",
    "Defaults",
    "PromptBuilder",
    "PromptFormat",
    "Texts",
    "Tokenizer",
    "cache_folder",
    "compile_index",
    "compiled_catalog",
    "open_catalog",
]
