"""A new catalog takes the place of the old one between two requests."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from sidebeam.bundle import Bundle, Tokenizer
from sidebeam.bundle.compiler import compile_apart
from sidebeam.catalog import Catalog, CatalogUnfit, refuse_unfit
from sidebeam.server.fleet.catalog_link import CatalogRefused
from sidebeam.server.fleet.fleet import Fleet
from sidebeam.server.lifecycle.reloads import Told
from sidebeam.server.lifecycle.seen_files import SeenFiles
from sidebeam.server.recommendation.edition import Edition
from sidebeam.server.recommendation.editions import Editions

MOST = 4  # versions at once: one that comes while so many are in use waits until the requests of one have ended


class TooMany(RuntimeError):
    """As many versions as may be are in use."""


class CatalogReload:
    """Compiles changed items apart, has all ready workers open them, and then switches `editions` in one step.

    Whatever goes wrong, the old catalog stays. `spare` is a folder for what the user's cache does not take. `switched`
    is called in the step in which the editions are.
    """

    def __init__(
        self,
        bundle: Bundle,
        tokenizer: Tokenizer,
        seen: SeenFiles,
        editions: Editions,
        fleet: Fleet,
        spare: Path,
        switched: Callable[[], None],
        told: Told,
    ) -> None:
        self._bundle = bundle
        self._tokenizer = tokenizer
        self._seen = seen
        self._editions = editions
        self._fleet = fleet
        self._spare = spare
        self._switched = switched
        self._told = told
        self._turn = asyncio.Lock()
        self._waits = ""  # why good items are not in force yet
        self._is_refused = False  # the last ones
        self._closing: set[asyncio.Task[None]] = set()
        editions.left = self._left

    async def look(self, asked: bool) -> None:
        """Take over items that have changed, or could not be taken the last time because of others."""
        async with self._turn:
            if await asyncio.to_thread(self._seen.have_changed) or asked or self._waits:
                await self._reload(asked)

    def _left(self, edition: Edition) -> None:
        """Let go of an edition that nobody uses any more, in the background."""
        task = asyncio.create_task(self._close(edition))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _reload(self, asked: bool) -> None:
        started, before = time.monotonic(), self._editions.current.catalog.version
        waited, self._waits = self._waits, ""
        try:
            edition = await self._read()
            if edition is not self._editions.current:
                await self._take(edition)
        except (ValueError, KeyError, OSError) as error:  # of the items, BundleError and CatalogUnfit among them
            self._refuse(str(error))
        except (CatalogRefused, TooMany) as error:  # of others, and it may pass: to be tried again, and told once
            self._waits = str(error)
            if asked or self._waits != waited:
                self._refuse(self._waits)
        else:
            catalog, took_s = edition.catalog, round(time.monotonic() - started, 3)
            log = structlog.get_logger().bind(version=catalog.version, items=catalog.n_items)
            if catalog.version != before:
                log.info("catalog_reloaded", before=before, took_s=took_s)
            elif asked or self._is_refused:
                log.info("catalog_unchanged", took_s=took_s)
            if catalog.version != before or self._is_refused:
                self._told("taken")
            self._is_refused = False

    async def _read(self) -> Edition:
        """The edition of the items as they are now. Raises ValueError, KeyError or OSError."""
        for file in self._editions.files:  # the cache keeps what was used lately
            with suppress(OSError):
                if file.path is not None:
                    os.utime(file.path)
        path = await compile_apart(self._bundle, self._spare)
        return await asyncio.to_thread(self._edition, path)

    def _edition(self, path: Path) -> Edition:
        catalog = Catalog.open(path)
        if (known := self._editions.find(catalog.version)) is not None:
            return known
        refuse_unfit(catalog, self._editions.current.catalog, self._fleet.vocab_size)
        try:
            return Edition.of(self._bundle, self._tokenizer, catalog, path)
        except KeyError as error:
            raise CatalogUnfit(f"token {error} of its SIDs is not in the tokenizer's vocabulary") from error

    async def _take(self, edition: Edition) -> None:
        """Raises CatalogRefused or TooMany."""
        version = edition.catalog.version
        is_new = self._editions.find(version) is None
        if is_new and len(self._editions) >= MOST:
            raise TooMany(f"{MOST} versions are in use, as many as may be: requests of the older ones have not ended")
        try:
            await self._fleet.open_catalog(edition.file)
        except CatalogRefused:
            if is_new:
                await self._fleet.close_catalog(version)
            raise
        # All ready workers have it, and one that comes up from here on is brought it: no pause until requests get it.
        self._editions.switch(edition)
        self._switched()

    def _refuse(self, reason: str) -> None:
        structlog.get_logger().error("catalog_not_reloaded", reason=reason, kept=self._editions.current.catalog.version)
        self._told("refused")
        self._is_refused = True

    async def _close(self, edition: Edition) -> None:
        async with self._turn:
            version, path = edition.catalog.version, edition.file.path
            if self._editions.find(version) is not None:  # it has come again
                return
            await self._fleet.close_catalog(version)
            if path is not None and path.parent == self._spare:
                await asyncio.to_thread(path.unlink, missing_ok=True)
            structlog.get_logger().info("catalog_left", version=version)
