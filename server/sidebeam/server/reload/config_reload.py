"""Settings that change while the sidecar runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from sidebeam.server.config.config import Config
from sidebeam.server.config.config_sources import ConfigError, ConfigSource
from sidebeam.server.config.running_config import Change, RunningConfig
from sidebeam.server.lifecycle.reloads import Told
from sidebeam.server.lifecycle.seen_files import SeenFiles


class ConfigReload:
    """Has `apply` take over what may change while running; the rest is named, and stays until a restart.

    A file that is bad in anything changes nothing.
    """

    def __init__(
        self, source: ConfigSource, file: Path, running: RunningConfig, apply: Callable[[Config], None], told: Told
    ) -> None:
        self._source = source
        self._seen = SeenFiles([file])
        self._running = running
        self._apply = apply
        self._told = told

    async def look(self, asked: bool) -> None:
        """Take over a file that has changed."""
        if not await asyncio.to_thread(self._seen.have_changed) and not asked:
            return
        log = structlog.get_logger()
        try:
            read = await asyncio.to_thread(self._source.read)
        except ConfigError as error:
            log.error("config_not_reloaded", reason=str(error), problems=error.problems)
            self._told("refused")
            return
        change = Change.between(self._running.now, read)
        self._apply(change.config)
        log.info("config_reloaded", changed=change.taken)
        if change.left:
            log.warning("config_needs_restart", keys=change.left)
        self._told("partly_taken" if change.left else "taken")
