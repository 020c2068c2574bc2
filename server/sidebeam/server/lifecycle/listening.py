"""Where a server listens."""

from __future__ import annotations

import os
from pathlib import Path

import grpc

from sidebeam.server.lifecycle.socket_folder import SocketFolderError, refuse_unsafe

UNIX = "unix:"


class ListenError(RuntimeError):
    """The address cannot be listened on; the message names it."""


def listen(
    server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None = None, socket_mode: str = "600"
) -> str:
    """Bind `address` and return it with the port that was really bound. Raises ListenError.

    A Unix socket has `socket_mode` from its first moment on.
    """
    if not address.startswith(UNIX):
        return f"{address.rpartition(':')[0]}:{_bind(server, address, credentials)}"
    try:
        refuse_unsafe(Path(address.removeprefix(UNIX)).parent)
    except SocketFolderError as error:
        raise ListenError(f"cannot listen on {address}: {error}") from error
    mask = os.umask(0o777 & ~int(socket_mode, 8))
    try:
        _bind(server, address, credentials)
    finally:
        os.umask(mask)
    return address


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> int:
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise ListenError(f"cannot listen on {address}: the address is in use, or not one of this host") from error
