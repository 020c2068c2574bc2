"""Notices a gRPC server that takes no calls any more though nobody has stopped it."""

from __future__ import annotations

import grpc

LOOK_S = 3600.0  # it is told at once; this only bounds a wait that must not be cancelled inside gRPC


class ServerEndedError(Exception):
    """It has ended by itself."""


async def watch(server: grpc.aio.Server) -> None:
    """Wait while `server` serves; to be cancelled before it is stopped. Raises ServerEndedError, or the server's own.

    One call that gRPC cannot bear ends all of a server, in some of its versions, and leaves the process alive.
    """
    while await server.wait_for_termination(LOOK_S):
        pass
    raise ServerEndedError("it takes no calls any more")
