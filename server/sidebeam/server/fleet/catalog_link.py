"""What versions of the catalog one worker holds, as far as the front knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog

from sidebeam.server.fleet.worker_link import WorkerLink
from sidebeam.worker.v1 import tree_pb2

OPEN_S = 60.0  # a worker on another host may have to compile its own items: tens of seconds for some million
CLOSE_S = 5.0
PAUSE_S = 2.0  # before a worker that has been refused is looked at again

GONE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


@dataclass(frozen=True, slots=True)
class CatalogFile:
    """One version, compiled; `path` None: nowhere."""

    version: str
    path: Path | None


class CatalogRefused(RuntimeError):
    """A worker does not take a version; the message names the worker and says why."""


class CatalogLink:
    """Opens and closes catalogs in one worker. `held` returns those that requests may name now."""

    def __init__(self, link: WorkerLink, service: str, held: Callable[[], Sequence[CatalogFile]]) -> None:
        self.link = link
        self._held = held
        self._versions: set[str] = set()
        self._told = ""
        self._open = link.channel.unary_unary(
            f"/{service}/OpenCatalog",
            request_serializer=tree_pb2.OpenCatalogRequest.SerializeToString,
            response_deserializer=tree_pb2.OpenCatalogResponse.FromString,
        )
        self._close = link.channel.unary_unary(
            f"/{service}/CloseCatalog",
            request_serializer=tree_pb2.CloseCatalogRequest.SerializeToString,
            response_deserializer=tree_pb2.CloseCatalogResponse.FromString,
        )

    def lacks(self, version: str) -> bool:
        """Whether requests are sent to the worker and it does not have this version."""
        info = self.link.info
        return info is not None and bool(info.vocab_size) and version not in self._versions

    async def bring(self, info: tree_pb2.WorkerInfo) -> bool:
        """Have a worker that has come up hold all that requests may name. Returns whether it does.

        True is returned in the same moment in which that was true: a version that came meanwhile is brought, too.
        """
        self._versions = {info.catalog_version}
        try:
            while missing := [file for file in self._held() if file.version not in self._versions]:
                await self._ask(missing[0])
        except CatalogRefused as error:
            if str(error) != self._told:
                self._told = str(error)
                structlog.get_logger().error(
                    "other_catalog", worker=self.link.name, version=info.catalog_version, reason=str(error)
                )
            await asyncio.sleep(PAUSE_S)
            return False
        except grpc.aio.AioRpcError:  # it has gone again
            return False
        self._told = ""
        return True

    async def open(self, file: CatalogFile) -> None:
        """Have a ready worker hold a version. Raises CatalogRefused; one that goes meanwhile is lost, and no error."""
        seen = self.link.info
        try:
            await self._ask(file)
        except grpc.aio.AioRpcError:
            self.link.lose(seen)
        except CatalogRefused:
            if self.link.info is seen:
                raise

    async def close(self, version: str) -> None:
        """Let a version go. What goes wrong does not matter: a worker never keeps more than some."""
        self._versions.discard(version)
        if self.link.is_ready:
            with suppress(grpc.aio.BaseError):
                await self._close(tree_pb2.CloseCatalogRequest(version=version), timeout=CLOSE_S)

    async def _ask(self, file: CatalogFile) -> None:
        """Raises CatalogRefused, or AioRpcError for a worker that is gone."""
        versions = self._versions
        request = tree_pb2.OpenCatalogRequest(version=file.version, path=str(file.path or ""))
        try:
            await self._open(request, timeout=OPEN_S)
        except grpc.aio.AioRpcError as error:
            if error.code() in GONE:
                raise
            late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            why = f"it took longer than {OPEN_S:g} s" if late else error.details()
            raise CatalogRefused(f"worker {self.link.name} does not take version {file.version}: {why}") from error
        versions.add(file.version)
