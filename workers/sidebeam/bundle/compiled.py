"""The compiled catalog as a file that stays as it is, whatever becomes of the items it was made of."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from sidebeam.bundle.bundle import Bundle, BundleError
from sidebeam.bundle.index import COMPILED_SUFFIX, catalogs_folder, compile_index, compiled_name
from sidebeam.bundle.tokenizer import Tokenizer
from sidebeam.catalog import Catalog, CatalogFileError

KEPT = 8  # compiled catalogs in the cache, the latest used ones: each reload brings another


def open_catalog(bundle: Bundle, tokenizer: Tokenizer) -> Catalog:
    """The bundle's catalog, compiled on first use and mapped after that.

    `catalog.items` may also name a compiled file (`*.catalog`), which is mapped as it is.
    Raises BundleError if the items do not make a catalog for this tokenizer.
    """
    items = bundle.items
    if items is None:
        raise BundleError(bundle.root, ["it has [texts] and no [catalog]: it writes texts, it recommends no items"])
    if items.suffix == COMPILED_SUFFIX:
        try:
            return Catalog.open(items)
        except CatalogFileError as error:
            raise BundleError(bundle.root, [f"catalog.items: {error}"]) from error
    raw = items.read_bytes()
    kept = _kept(compiled_name(bundle, raw), [catalogs_folder()], lambda: compile_index(bundle, raw, tokenizer))
    return Catalog.open(kept) if isinstance(kept, Path) else kept  # without a cache, starting takes longer


def compiled_catalog(bundle: Bundle, tokenizer: Tokenizer, spare: Path) -> Path | None:
    """The bundle's catalog, compiled unless it has been before: in the user's cache, or else in the folder `spare`.

    Items that are compiled already are copied there, for who writes over a mapped file kills those who map it.
    None: neither folder takes it. Raises BundleError if the items do not make a catalog for this tokenizer.
    """
    items = bundle.items
    if items is None:
        raise BundleError(bundle.root, ["it has no [catalog]"])
    folders = (catalogs_folder(), spare)
    try:
        if items.suffix == COMPILED_SUFFIX:
            catalog = _intact(bundle, items)
            kept = _kept(f"{catalog.version}{COMPILED_SUFFIX}", folders, lambda: catalog)
        else:
            raw = items.read_bytes()
            kept = _kept(compiled_name(bundle, raw), folders, lambda: compile_index(bundle, raw, tokenizer))
    except OSError as error:
        raise BundleError(bundle.root, [f"catalog.items: {items}: {error.strerror}"]) from error
    return kept if isinstance(kept, Path) else None


def _kept(name: str, folders: Sequence[Path], make: Callable[[], Catalog]) -> Path | Catalog:
    """The file of that name in the first of the folders that has it or takes it; what was made where none does."""
    for folder in folders:
        if _is_catalog(folder / name):
            return folder / name
    catalog = make()
    for folder in folders:
        with suppress(OSError):  # read-only, or full
            catalog.save(folder / name)
            if folder is folders[0]:
                _drop_oldest(folder)
            return folder / name
    return catalog


def _intact(bundle: Bundle, items: Path) -> Catalog:
    try:
        catalog = Catalog.open(items)
    except (CatalogFileError, KeyError) as error:
        raise BundleError(bundle.root, [f"catalog.items: {error}"]) from error
    if not catalog.is_intact:
        raise BundleError(bundle.root, [f"catalog.items: {items} is damaged: it is not of its version"])
    return catalog


def _is_catalog(file: Path) -> bool:
    """Whether it is one; if so, it counts as used now."""
    try:
        Catalog.open(file)
        os.utime(file)
    except (OSError, CatalogFileError):
        return False
    return True


def _drop_oldest(folder: Path) -> None:
    with suppress(OSError):  # of files that somebody else drops
        files = [(file.stat().st_mtime, file) for file in folder.glob(f"*{COMPILED_SUFFIX}")]
        for _, file in sorted(files)[:-KEPT]:
            file.unlink()
