"""Finds out on whose behalf a call is made, before anything is done for it."""

from __future__ import annotations

from typing import Any

import grpc
import structlog

from sidebeam.server.interception.guarded import Behaviour, Continuation, guarded
from sidebeam.server.security import tenant
from sidebeam.server.security.identity import Identity


class TenantInterceptor(grpc.aio.ServerInterceptor):
    """Guards our own services; raises Refusal, which is for the interceptors around this one to tell.

    Health and reflection need no tenant: probes have none, and what reflection tells is public.
    """

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Replace the handler by one that knows its tenant."""
        return await guarded(self._known, continuation, handler_call_details)

    def _known(self, inner: Behaviour) -> Behaviour:
        async def known(request: Any, context: Any) -> Any:
            who = self._identity.of(context)
            tenant.begin(who)
            if who is not tenant.ANYBODY:
                structlog.contextvars.bind_contextvars(tenant=who.name)
            return await inner(request, context)

        return known
