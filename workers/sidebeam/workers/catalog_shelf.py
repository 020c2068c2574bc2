"""The versions of the catalog that a worker holds at once: a new one comes while requests still use the old."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from sidebeam.bundle import Bundle, BundleError
from sidebeam.bundle.compiler import compile_apart
from sidebeam.catalog import Catalog

MOST = 8  # versions: a front uses four at most, and one that was killed says no good-bye

H = TypeVar("H")


class CatalogRefused(ValueError):
    """A version cannot be held; the message says why."""


class CatalogShelf(Generic[H]):
    """What serves each version, by `hold`, which may take its time and raises ValueError for one that does not fit."""

    def __init__(self, bundle: Bundle, catalog: Catalog, first: H, hold: Callable[[Catalog], Awaitable[H]]) -> None:
        self.newest = catalog.version  # the one that was opened last
        self._bundle = bundle
        self._hold = hold
        self._held = {catalog.version: first}  # what was not asked for longest comes first
        self._turn = asyncio.Lock()

    def get(self, version: str) -> H | None:
        """What serves a version; None: it is not held."""
        held = self._held.pop(version, None)
        if held is not None:
            self._held[version] = held
        return held

    async def open(self, version: str, path: Path) -> None:
        """Hold a version, which lies compiled at `path`, or is what the bundle's items make. Raises CatalogRefused."""
        async with self._turn:
            if self.get(version) is None:
                try:
                    held = await self._hold(await self._find(version, path))
                except ValueError as error:
                    raise CatalogRefused(str(error)) from error
                while len(self._held) >= MOST:
                    self._drop(next(iter(self._held)))
                self._held[version] = held
                structlog.get_logger().info("catalog_opened", version=version)
            self.newest = version

    def close(self, version: str) -> None:
        """Hold a version no more; what was got of it lives on. The only one stays: a worker always has a catalog."""
        if version in self._held and len(self._held) > 1:
            self._drop(version)

    def refusal(self, version: str) -> str:
        """Why a request that names a version which is not held is refused."""
        return f"catalog_version is {version!r}; this worker has {', '.join(self._held)}"

    async def _find(self, version: str, path: Path) -> Catalog:
        try:
            catalog = await asyncio.to_thread(Catalog.open, path)
        except FileNotFoundError:
            why = f"{path} is not here"
        except (OSError, KeyError, ValueError) as error:
            why = str(error)
        else:
            if catalog.version == version:
                return catalog
            why = f"{path} is of version {catalog.version}"
        try:
            return await self._own(version)
        except (BundleError, OSError, CatalogRefused) as error:
            raise CatalogRefused(f"{why}; {error}") from error

    async def _own(self, version: str) -> Catalog:
        """The one that the bundle's items make by now."""
        with tempfile.TemporaryDirectory(prefix="sidebeam-catalog-") as spare:
            catalog = await asyncio.to_thread(Catalog.open, await compile_apart(self._bundle, Path(spare)))
        if catalog.version != version:
            raise CatalogRefused(f"the items of this worker's own bundle are of version {catalog.version}")
        return catalog

    def _drop(self, version: str) -> None:
        del self._held[version]
        structlog.get_logger().info("catalog_closed", version=version)
