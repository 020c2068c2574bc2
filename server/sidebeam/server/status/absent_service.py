"""Services that the bundle has no parts for: not reflected, of no health, and refused in words."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from sidebeam.server.refusals.refusal import absent


def add_absent(server: grpc.aio.Server, service: ServiceDescriptor, why: str) -> None:
    """Answer every server-streaming method of a service with UNIMPLEMENTED and `why`."""

    async def refuse(request: bytes, context: Any) -> None:
        raise absent(f"{service.full_name} is not served: {why}")

    handlers: dict[str, Any] = {method.name: grpc.unary_stream_rpc_method_handler(refuse) for method in service.methods}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
