"""The calls that open and close catalogs, which both kinds of workers answer alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Generic, TypeVar

import grpc
import structlog

from sidebeam.worker.v1 import tree_pb2
from sidebeam.workers.catalog_shelf import CatalogRefused, CatalogShelf

NO_CATALOG = "this worker has no catalog"

H = TypeVar("H")


class CatalogCalls(Generic[H]):
    """A part of a servicer. `catalogs` are the versions that it holds; None: its bundle has no catalog."""

    def __init__(self, catalogs: CatalogShelf[H] | None) -> None:
        self._catalogs = catalogs

    async def OpenCatalog(  # noqa: N802
        self, request: tree_pb2.OpenCatalogRequest, context: Any
    ) -> tree_pb2.OpenCatalogResponse:
        """Hold a version of the catalog, or end the call in words."""
        try:
            if self._catalogs is None:
                raise CatalogRefused(NO_CATALOG)
            await self._catalogs.open(request.version, Path(request.path))
        except CatalogRefused as error:
            structlog.get_logger().error("catalog_not_opened", version=request.version, reason=str(error))
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        return tree_pb2.OpenCatalogResponse()

    async def CloseCatalog(  # noqa: N802
        self, request: tree_pb2.CloseCatalogRequest, context: Any
    ) -> tree_pb2.CloseCatalogResponse:
        """Hold it no more."""
        if self._catalogs is not None:
            self._catalogs.close(request.version)
        return tree_pb2.CloseCatalogResponse()
