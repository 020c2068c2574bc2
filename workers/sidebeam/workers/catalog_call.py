"""The call that opens a catalog, which both kinds of workers answer alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import structlog

from sidebeam.worker.v1 import tree_pb2
from sidebeam.workers.catalog_shelf import CatalogRefused, CatalogShelf

NO_CATALOG = "this worker has no catalog"


async def open_catalog(shelf: CatalogShelf[Any] | None, request: tree_pb2.OpenCatalogRequest, context: Any) -> None:
    """Have `shelf` hold what is asked for, or end the call in words; None: the bundle has no catalog."""
    try:
        if shelf is None:
            raise CatalogRefused(NO_CATALOG)
        await shelf.open(request.version, Path(request.path))
    except CatalogRefused as error:
        structlog.get_logger().error("catalog_not_opened", version=request.version, reason=str(error))
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
