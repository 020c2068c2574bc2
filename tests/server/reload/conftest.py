"""A sidecar whose catalog and settings can be changed while it runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from sidebeam.v1 import status_pb2, status_pb2_grpc
from tests.server.conftest import START_S, Caller, Sidecar, running, until

RELOAD_S = 60.0


class Changing:
    """A sidecar, its files, and what became of changing them."""

    def __init__(self, sidecar: Sidecar, bundle: Path, config: Path) -> None:
        self.sidecar, self.bundle, self.config = sidecar, bundle, config
        self.sids: dict[str, list[str]] = json.loads((bundle / "items.json").read_text())
        self.caller = Caller(sidecar.address)

    def put(self, content: str, file: str = "items.json") -> None:
        """Put a file in place at once, as a volume does."""
        new = self.bundle / f"{file}.new"
        new.write_text(content)
        os.replace(new, self.bundle / file)

    def hang_up(self) -> None:
        """Ask for a reload."""
        self.sidecar.process.send_signal(signal.SIGHUP)

    def reload(self, content: str | None = None, *, refused: bool = False) -> dict[str, Any]:
        """Put items in place, ask for them, and return the log line of what became of it."""
        if content is not None:
            self.put(content)
        names = ("catalog_not_reloaded",) if refused else ("catalog_reloaded", "catalog_unchanged")
        seen = [len(self.sidecar.events(name)) for name in names]
        self.hang_up()
        until(lambda: [len(self.sidecar.events(name)) for name in names] != seen, RELOAD_S)
        return max((line for name in names for line in self.sidecar.events(name)), key=lambda line: line["timestamp"])

    def configure(self, text: str, event: str = "config_reloaded") -> dict[str, Any]:
        """The same for settings."""
        seen = len(self.sidecar.events(event))
        self.config.write_text(text)
        self.hang_up()
        until(lambda: len(self.sidecar.events(event)) > seen, RELOAD_S)
        return self.sidecar.events(event)[-1]

    def status(self) -> status_pb2.GetStatusResponse:
        """What the sidecar says of itself."""
        with grpc.insecure_channel(self.sidecar.address) as channel:
            answer: status_pb2.GetStatusResponse = status_pb2_grpc.StatusServiceStub(channel).GetStatus(
                status_pb2.GetStatusRequest(), timeout=10
            )
            return answer


@contextmanager
def changing(source: Path, folder: Path, *flags: str, **settings: object) -> Iterator[Changing]:
    """A sidecar on a copy of a bundle; it looks at files by itself only if told how often."""
    bundle, config = folder / "bundle", folder / "config.toml"
    shutil.copytree(source, bundle)
    config.write_text("")
    settings = {"server__reload_interval_s": 3600} | settings
    with running(bundle, "--config", str(config), *flags, **settings) as sidecar:
        workers = 1 if "off" in flags else 2
        until(lambda: len(sidecar.events("worker_up")) >= workers, START_S)
        one = Changing(sidecar, bundle, config)
        try:
            yield one
        finally:
            one.caller.channel.close()


@pytest.fixture(scope="session")
def change() -> Callable[..., Any]:
    """Starts one: `with change(bundle, folder, flags..., section__key=value) as changing`."""
    return changing
